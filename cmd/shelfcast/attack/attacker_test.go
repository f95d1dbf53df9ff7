package attack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An attacker is a process of its own, so that bystanders measure the instances and
// not the attacker's work. It has its own addresses of loopback.
type attacker struct {
	target
	ctx    context.Context // ends when the attack is to end
	number int             // of the attack

	sent atomic.Int64 // bytes
	mu   sync.Mutex
	said map[string]int // number of each answer
	bad  []string       // wrong answers
}

// A report is the result of an attacker.
type report struct {
	Sent int64
	Said map[string]int
	Bad  []string
}

// orders are the input of an attacker.
type orders struct {
	Attack int
	Lasts  time.Duration
	Target target
}

const ordersVariable = "SHELFCAST_TEST_ATTACK"

// send runs an attack in a new process, and waits for its end.
func send(t testing.TB, o orders) (r report) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), o.Lasts+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // whose end ends the attacker, should this process end
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		r.Bad = append(r.Bad, fmt.Sprintf("the attacker ended with %v", err))
	}
	return r
}

// beAttacker runs the attack and exits, if this process is an attacker.
func beAttacker() {
	text := os.Getenv(ordersVariable)
	if text == "" {
		return
	}
	go func() { io.Copy(io.Discard, os.Stdin); os.Exit(3) }()
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	// A real attacker has its own machines; here it must not take processor time from
	// the instances.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19)
	ctx, cancel := context.WithTimeout(context.Background(), o.Lasts)
	defer cancel()
	a := &attacker{target: o.Target, ctx: ctx, number: o.Attack, said: map[string]int{}}
	if err == nil {
		attacks[o.Attack].run(a)
		err = json.NewEncoder(os.Stdout).Encode(report{a.sent.Load(), a.said, a.bad})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// note counts an answer.
func (a *attacker) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said[what]++
}

// met returns the number of such answers.
func (a *attacker) met(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said[what]
}

// wrong reports a wrong answer; the first few are kept.
func (a *attacker) wrong(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bad) < 10 {
		a.bad = append(a.bad, fmt.Sprintf(format, args...))
	}
}

func (a *attacker) over() bool { return a.ctx.Err() != nil }

// rest waits, and reports whether the attack continues.
func (a *attacker) rest(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-a.ctx.Done():
		return false
	}
}

// each runs many functions concurrently, and waits for them.
func (a *attacker) each(many int, run func(n int)) {
	var all sync.WaitGroup
	for n := range many {
		all.Go(func() { run(n) })
	}
	all.Wait()
}

// A conn is a connection of an attacker, which ends with the attack.
type conn struct {
	*net.TCPConn
	a *attacker
	r *bufio.Reader
}

// dial connects from the attacker's nth address.
func (a *attacker) dial(address string, n int) (*conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, byte(10+a.number), byte(n>>8), byte(n))}
	dialer := net.Dialer{LocalAddr: from, Timeout: patience}
	c, err := dialer.DialContext(a.ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	tcp.SetLinger(0) // thousands of them would be left waiting
	end, _ := a.ctx.Deadline()
	tcp.SetDeadline(end)
	return &conn{tcp, a, bufio.NewReaderSize(tcp, 4096)}, nil
}

// slow shrinks the receive buffer, for a client that does not read.
func (c *conn) slow() *conn {
	c.SetReadBuffer(2048)
	return c
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.a.sent.Add(int64(n))
	return n, err
}

// answer reads a whole response, and returns the first 64 KiB of its body.
func (c *conn) answer(method string) (status int, header http.Header, body []byte, err error) {
	response, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return 0, nil, nil, err
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return response.StatusCode, response.Header, nil, nil // which has no end
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	return response.StatusCode, response.Header, body, err
}

// ask makes one request on a new connection, and counts the answer. The status is 0
// if the connection was closed first.
func (a *attacker) ask(address string, from int, method string, request []byte) (
	status int, header http.Header, body []byte) {
	c, err := a.dial(address, from)
	if err != nil {
		a.note(failure(err))
		return 0, nil, nil
	}
	defer c.Close()
	if _, err = c.Write(request); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		// A request can be refused before all of it was read.
		status, header, body, err = c.answer(method)
	}
	if err != nil {
		a.note(failure(err))
		return 0, nil, nil
	}
	a.note(strconv.Itoa(status))
	return status, header, body
}

// failure returns the name of an error in the table.
func failure(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "late"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "not there"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return "cut"
	}
	return err.Error()
}

// request returns the bytes of a request. Headers are lines without their ends.
func request(method, path, host string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

func get(path, host string, headers ...string) []byte {
	return request("GET", path, host, nil, headers...)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

const asJSON = "Content-Type: application/json"

// lines formats the answers for the table, most frequent first.
func (r report) lines() string {
	var parts []string
	for _, what := range byCount(r.Said) {
		parts = append(parts, fmt.Sprintf("%s×%d", what, r.Said[what]))
	}
	if len(parts) > 5 {
		parts = append(parts[:5], "…")
	}
	return strings.Join(parts, " ")
}
