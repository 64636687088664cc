package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/sessiond/sessiond"
)

// The tools reach a server through a Unix socket in its data folder: whoever may read the
// data may ask for a copy of it. It speaks HTTP:
//
//	POST /backup?to=FOLDER   makes a backup and answers with a sessiond.BackupReport as JSON,
//	                         or with the error as text; FOLDER is as the server sees it

// controlSocket returns the path of the socket. It is short if dir is, since it may have about
// a hundred bytes.
func controlSocket(dir string) string { return filepath.Join(dir, "control.sock") }

// controlGrace is how long a tool has to take the last answer when sessiond stops.
const controlGrace = time.Second

// backupFunc makes a backup, as Store.Backup does.
type backupFunc func(ctx context.Context, to string) (sessiond.BackupReport, error)

// startControl answers tools until stop is called, which calls off what they asked for. A
// server without the socket serves all the same.
func startControl(dir string, backup backupFunc, log *slog.Logger) (stop func()) {
	ln, err := listenUnix(controlSocket(dir), 0o600)
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
		report, err := backup(r.Context(), r.FormValue("to"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report) // if it cannot be written the tool has gone
	})
	return mux
}

// errNoServer says that nobody answers on the control socket of a folder.
var errNoServer = errors.New("no server")

// askBackup asks the server of a data folder for a backup. The folder to is absolute.
func askBackup(ctx context.Context, dir, to string) (report sessiond.BackupReport, err error) {
	socket := controlSocket(dir)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
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
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return report, fmt.Errorf("%s: %w", socket, err)
	}
	if response.StatusCode != http.StatusOK {
		return report, errors.New(strings.TrimSpace(string(body)))
	}
	return report, json.NewDecoder(bytes.NewReader(body)).Decode(&report)
}
