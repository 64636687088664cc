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

// The tools reach a server through a Unix socket in its data folder: whoever may read the
// data may ask for a copy of it. It speaks HTTP:
//
//	POST /backup?to=FOLDER   makes a backup and answers with lines of JSON, each a controlAnswer:
//	                         how far it is, from time to time, and at last the report or the
//	                         error; FOLDER is as the server sees it

// controlSocket returns the path of the socket.
func controlSocket(dir string) string { return filepath.Join(dir, "control.sock") }

// controlGrace is how long a tool has to take a line, and the last one when sessiond stops.
const controlGrace = time.Second

// backupFunc makes a backup, as Store.Backup does.
type backupFunc func(ctx context.Context, to string, options sessiond.BackupOptions) (sessiond.BackupReport, error)

// controlAnswer is one line of an answer.
type controlAnswer struct {
	Done, Total int64                  `json:",omitzero"`
	Report      *sessiond.BackupReport `json:",omitempty"`
	Error       string                 `json:",omitempty"`
}

// startControl answers tools until stop is called, which calls off what they asked for. A
// server without the socket serves all the same.
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
		if srv.Shutdown(ctx) != nil { // somebody does not take the answer
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
		answers, told := json.NewEncoder(w), ttl.Never // if they cannot be written the tool has gone
		sending := http.NewResponseController(w)
		report, err := backup(r.Context(), r.FormValue("to"), sessiond.BackupOptions{
			Progress: func(done, total int64) {
				if now := ttl.System.Now(); now.Sub(told) >= redrawn {
					told = now
					// A tool that was stopped must not stop the backup.
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

// errNoServer says that nobody answers on the control socket of a folder.
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
