package attack

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// list returns ID:0:VIEW,… for that many products.
func list(many int, view string) string {
	items := make([]string, many)
	for n := range items {
		items[n] = fmt.Sprintf("%d:0:%s", n+1, view)
	}
	return strings.Join(items, ",")
}

// slowReaders makes a request on many connections, from several addresses, and reads
// as little of the answers as it can.
func slowReaders(path func(t target) string, many, addresses int) func(a *attacker) {
	return func(a *attacker) {
		a.each(many, func(n int) {
			c, err := a.dial(a.Public[0], n%addresses)
			if err != nil {
				a.note(failure(err))
				return
			}
			defer c.Close()
			c.slow()
			if _, err := c.Write(get(path(a.target), a.Public[0])); err != nil {
				a.note(failure(err))
				return
			}
			a.note(c.status())
			<-a.ctx.Done()
		})
	}
}

// status reads the first line of an answer, and no more than arrived with it.
func (c *conn) status() string {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return failure(err)
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return line
	}
	return fields[1]
}

// eachRoute opens four connections for each of the routes, from fifty addresses, and
// passes them to run, which closes none.
func (a *attacker) eachRoute(all []route, run func(n int, r route, host string, c *conn)) {
	a.each(4*len(all), func(n int) {
		r := all[n%len(all)]
		host := r.at(a.target, 0)
		c, err := a.dial(host, n%50)
		if err != nil {
			a.note(failure(err))
			return
		}
		defer c.Close()
		run(n, r, host, c)
	})
}

// slowReadersOfAll requests everything from an app, a hundred times on each
// connection, and reads none of it.
func slowReadersOfAll(admin bool, headers func(target, int) []string) func(a *attacker) {
	return func(a *attacker) {
		all := slices.DeleteFunc(slices.Clone(routes()), func(r route) bool { return r.method != "GET" || r.admin != admin })
		a.eachRoute(all, func(n int, r route, host string, c *conn) {
			c.slow()
			var err error
			bytes := get(r.path, host, headers(a.target, n)...)
			for n := 0; n < 100 && err == nil; n++ {
				c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				_, err = c.Write(bytes)
			}
			<-a.ctx.Done()
		})
	}
}

// slowSessions opens sessions that watch the maximum, and never read.
func slowSessions(many int) func(a *attacker) {
	return func(a *attacker) {
		a.each(many, func(n int) {
			switch n % 3 {
			case 0:
				s := a.join(0, n%50, "/websocket", true)
				if s == nil {
					return
				}
				defer s.Close()
				s.Write(text(`{"event_name":"subscribe","data":{"channels":["product_updates"],"last":0}}`))
			case 1:
				c, err := a.dial(a.Public[0], n%50)
				if err != nil {
					a.note(failure(err))
					return
				}
				defer c.Close()
				c.slow().Write(get("/live/sse?watch="+list(a.Large, "detail"), a.Public[0]))
			default:
				s := a.join(0, n%50, "/live", true)
				if s == nil {
					return
				}
				defer s.Close()
				for _, frame := range watches(1, a.Large, "detail") {
					s.Write(frame)
				}
			}
			a.note("opened")
			<-a.ctx.Done()
		})
	}
}

// watches returns frames that watch that many products, each as large as allowed.
func watches(first, many int, view string) (frames [][]byte) {
	var items []string
	for id := first; id < first+many; id++ {
		items = append(items, fmt.Sprintf(`{"id":%d,"version":0,"view":%q}`, id, view))
		if len(items) == 250 || id == first+many-1 {
			frames = append(frames, text(`{"watch":[`+strings.Join(items, ",")+`]}`))
			items = nil
		}
	}
	return frames
}

// silentSessions opens sessions that are sent more than their buffers hold, and never
// read: they must be closed after a minute.
func silentSessions(a *attacker) {
	a.each(60, func(n int) {
		s := a.join(0, n, "/live", true)
		if s == nil {
			return
		}
		defer s.Close()
		for _, frame := range watches(1, a.Large, "detail") {
			s.Write(frame)
		}
		// Nobody reads, so the receive window stays closed, but TCP keeps the connection
		// alive.
		a.rest(80 * time.Second)
		if open(s.conn) {
			a.wrong("a session that has taken no byte for 80 s is open")
			a.note("open after 80 s")
			return
		}
		a.note("closed within 80 s")
	})
}

// open reports whether the other side keeps the connection open, after reading what it
// had sent.
func open(c *conn) bool {
	buffer := make([]byte, 64<<10)
	for read := 0; read < 4*mib; {
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := c.TCPConn.Read(buffer)
		if err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
		read += n
	}
	return true
}

// slowWriters begins requests to every route of both apps, and continues with a byte
// now and then.
func slowWriters(a *attacker) {
	all := routes()
	a.eachRoute(all, func(n int, r route, host string, c *conn) {
		begin := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nX-Padding: %s", r.method, r.path, host,
			strings.Repeat("x", 8<<10))
		if n/len(all)%2 == 1 { // an endless body
			begin = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s\r\nContent-Length: 60000\r\n\r\n%s", r.path, host,
				bearer(a.Writer), asJSON, strings.Repeat("[", 30_000))
		}
		began := time.Now()
		_, err := c.Write(begin)
		for ; err == nil && a.rest(time.Second); _, err = c.Write([]byte("x")) {
		}
		// An import may take a time in proportion to its file: it has a timeout for each
		// piece, and its caller has a token.
		if err == nil && time.Since(began) > 25*time.Second && !strings.HasSuffix(r.path, ":import") {
			a.wrong("%s %s: a request that does not end is open after %v", r.method, r.path, time.Since(began))
		}
		a.note(map[bool]string{true: "open", false: "cut"}[err == nil])
	})
}

// slowFrames begins messages on many sessions, and never ends them.
func slowFrames(a *attacker) {
	a.each(600, func(n int) {
		path, size := "/live", 16<<10
		if n%2 == 1 {
			path, size = "/websocket", 1<<20
		}
		a.rest(time.Duration(n) * 5 * time.Millisecond) // to stay below the join rate
		s := a.join(0, n%100, path, false)
		if s == nil {
			return
		}
		defer s.Close()
		frame := text(strings.Repeat(" ", size-1))
		s.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_, err := s.Write(frame[:len(frame)-1])
		if err == nil {
			s.SetReadDeadline(time.Now().Add(time.Second))
			if s.end() >= 0 {
				return
			}
		}
		<-a.ctx.Done()
	})
}

func pollsOf(many int) func(t target) string {
	return func(t target) string { return "/live/poll?watch=" + list(min(many, t.Large), "detail") }
}

func fragmentsOf(t target) string { return "/fragments?ids=" + list(100, "detail") }

func number(n int) string { return strconv.Itoa(n) }
