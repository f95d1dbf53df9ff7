// Loadtest simulates many browsers. It opens sessions, edits products through the
// admin API, and reports how long edits take to reach the browsers and what they cost
// the server. See docs/loadtest.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// Settings are the settings of a run.
type Settings struct {
	Mode     string        `arg:"" enum:"idle,fan-out,spread,churn,storm,slow,deploy" help:"idle: nobody edits. fan-out: all watch one hot product, among others. spread: each watches some of many. churn: shoppers come and go, each after half a minute or so. storm: all are cut off and come back. slow: a share stops reading. deploy: you restart instances meanwhile; --live is the load balancer."`
	Live     []string      `default:"ws://127.0.0.1:8080/live" placeholder:"URL" help:"Where sessions are opened, in turn: of instances or of what is in front of them. http:// is taken for ws://, and /live is added where there is no path."`
	Admin    string        `default:"http://127.0.0.1:8081" help:"The admin app."`
	Token    string        `env:"SHELFCAST_ADMIN_TOKEN" required:"" help:"Bearer token of the admin API (SHELFCAST_ADMIN_TOKEN)."`
	Browsers int           `short:"n" default:"1000" help:"Sessions."`
	Products int           `short:"m" default:"20" help:"Products that each of them watches."`
	Edits    float64       `default:"10" help:"Edits a second."`
	At       time.Duration `name:"for" default:"30s" help:"How long, once all are there. In the modes slow and storm, of each half."`
	Rate     int           `default:"800" help:"New sessions a second while the browsers connect."`
	Slow     int           `default:"10" help:"Percent that stop reading, in the mode slow."`
	Procs    int           `name:"processes" default:"1" help:"Processes that the sessions are spread over: each may open only so many files."`
	Sources  []string      `placeholder:"IP" help:"Source addresses, in turn: one has 28,000 ports. On loopback 127.0.0.2 and so on."`
	Pid      []int         `help:"Processes of the server, to say what CPU time and memory they take. On this machine."`
	Prepare  int           `default:"0" help:"First see to it that the shop has so many products."`
	JSON     string        `placeholder:"FILE" help:"Write the report as JSON."`
	HTML     string        `placeholder:"FILE" help:"Write the report as one HTML page, with plots."`
	Require  bool          `help:"Exit with 1 if a page ended up wrong, or anything failed but handshakes with 503; in a deploy also if a session was not closed as planned."`
	Quiet    bool          `help:"No live progress."`

	patience  time.Duration // gives up after this time without a new session; default 30s
	meanwhile func() error  // the mode deploy runs it, and lasts until it returns; may be nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "loadtest:", err)
			os.Exit(1)
		}
		return
	}
	var s Settings
	kong.Parse(&s, kong.Name("loadtest"),
		kong.Description("Connects a crowd of browsers to Shelfcast and reports how long an edit takes to reach them, and "+
			"what that costs. Latency is counted from a product's version, which is the database's clock: it is only as "+
			"good as that clock and this machine's agree."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s Settings) error {
	if s.Browsers < 1 || s.Products < 1 || s.Procs < 1 || s.Rate < 1 || s.Edits < 0 || s.Slow < 0 || s.Slow > 100 {
		return errors.New("numbers must be positive")
	}
	live := s.Live
	s.Live = nil
	for _, address := range live {
		url, err := liveURL(address)
		if err != nil {
			return err
		}
		s.Live = append(s.Live, url)
	}
	report, err := perform(ctx, s)
	if err != nil {
		return err
	}
	fmt.Print(report.text())
	if s.JSON != "" {
		b, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.JSON, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if s.HTML != "" {
		page, err := report.page()
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.HTML, page, 0o644); err != nil {
			return err
		}
	}
	if s.Require && (report.Wrong > 0 || report.Errors > 0) {
		return fmt.Errorf("%d products are shown wrongly, and %d things failed", report.Wrong, report.Errors)
	}
	if unplanned := report.Lost - report.Planned; s.Require && s.Mode == "deploy" && unplanned > 0 {
		return fmt.Errorf("%d sessions ended otherwise than with 1012, as planned", unplanned)
	}
	return nil
}

// liveURL returns the URL of the WebSocket at that address.
func liveURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("--live: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http", "https":
		u.Scheme = "ws" + strings.TrimPrefix(u.Scheme, "http")
	default:
		return "", fmt.Errorf("--live: %s begins with none of ws://, wss://, http:// and https://", address)
	}
	if u.Host == "" {
		return "", fmt.Errorf("--live: %s names no host", address)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/live"
	}
	return u.String(), nil
}
