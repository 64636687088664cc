package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

// The tools reach a server through a Unix socket in its data folder: a user that may read the data may
// ask for a copy of it. The socket speaks HTTP:
//
//	POST /backup?to=FOLDER   makes a backup. FOLDER is a path on the server. The answer is lines of
//	                         JSON, each a controlAnswer: the progress, from time to time, and at the
//	                         end the report or the error

// controlSocket returns the path of the socket.
func controlSocket(dir string) string { return filepath.Join(dir, "control.sock") }

// controlGrace is how long a tool may take to read a line, and how long sessiond waits for that when it
// stops.
const controlGrace = time.Second

// backupFunc makes a backup, as Store.Backup does.
type backupFunc func(ctx context.Context, to string, options sessiond.BackupOptions) (sessiond.BackupReport, error)

// controlAnswer is one line of an answer.
type controlAnswer struct {
	Done, Total int64                  `json:",omitzero"`
	Report      *sessiond.BackupReport `json:",omitempty"`
	Error       string                 `json:",omitempty"`
}

// startControl answers tools until stop is called. stop also cancels their requests. If the socket
// cannot be made, the server serves its clients without it.
func startControl(dir string, backup backupFunc, log *slog.Logger) (stop func()) {
	ln, err := listenUnix(fromHere(controlSocket(dir)), 0o600)
	if err != nil {
		log.Warn("no control socket: tools cannot reach this server", "path", controlSocket(dir), "err", err)
		return func() {}
	}
	open, cancel := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler:     controlHandler(backup),
		BaseContext: func(net.Listener) context.Context { return open },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }() // ends with stop
	return func() {
		cancel()
		ctx, done := context.WithTimeout(context.Background(), controlGrace)
		defer done()
		if srv.Shutdown(ctx) != nil { // a tool does not read its answer
			_ = srv.Close() // it closes all it can
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			log.Warn("the control socket failed", "err", err)
		}
	}
}

func controlHandler(backup backupFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /backup", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		answers, sent := json.NewEncoder(w), ttl.Never // errors are ignored: the tool has gone then
		sending := http.NewResponseController(w)
		report, err := backup(r.Context(), r.FormValue("to"), sessiond.BackupOptions{
			Progress: func(done, total int64) {
				if now := ttl.System.Now(); now.Sub(sent) >= redrawn {
					sent = now
					// A suspended tool must not stop the backup.
					_ = sending.SetWriteDeadline(now.Add(controlGrace).Time())
					_ = answers.Encode(controlAnswer{Done: done, Total: total})
					_ = sending.Flush()
				}
			},
		})
		last := controlAnswer{Report: &report}
		if err != nil {
			last = controlAnswer{Error: err.Error()}
		}
		_ = sending.SetWriteDeadline(time.Time{})
		_ = answers.Encode(last)
	})
	return mux
}

// errNoServer means that no server answers on the control socket of a folder.
var errNoServer = errors.New("no server")

// askBackup asks the server of a data folder for a backup. The folder to is absolute.
func askBackup(ctx context.Context, dir, to string, options sessiond.BackupOptions) (report sessiond.BackupReport, err error) {
	socket := controlSocket(dir)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near := fromHere(socket)
		if err := checkSocketPath(near); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoServer, err)
		}
		conn, err := new(net.Dialer).DialContext(ctx, "unix", near)
		if err != nil {
			err = fmt.Errorf("%w: %w", errNoServer, err)
		}
		return conn, err
	}}
	defer transport.CloseIdleConnections()
	target := "http://sessiond/backup?" + url.Values{"to": {to}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, http.NoBody)
	if err != nil {
		return report, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return report, fmt.Errorf("%s: %w", socket, err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	answers := json.NewDecoder(response.Body)
	for {
		var a controlAnswer
		err := answers.Decode(&a)
		switch {
		case err != nil:
			return report, fmt.Errorf("%s: %w", socket, err)
		case a.Error != "":
			return report, errors.New(a.Error)
		case a.Report != nil:
			return *a.Report, nil
		case options.Progress != nil:
			options.Progress(a.Done, a.Total)
		}
	}
}
