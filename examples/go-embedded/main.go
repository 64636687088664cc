// Command go-embedded is a web application that keeps its visitors logged in with sessiond
// inside: no other process, one folder of data.
//
//	go run ./examples/go-embedded
//	curl -c jar -d user=ada localhost:8080/login
//	curl -b jar localhost:8080
//
// Kill it, start it again, and ada is still logged in.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sessiond/sessiond"
)

// lifetime is how long a visitor stays logged in without a visit.
const lifetime = 14 * 24 * time.Hour

func main() {
	addr := flag.String("http", "127.0.0.1:8080", "address of the application")
	redis := flag.String("redis", "", "address for Redis clients of the same sessions; empty for none")
	dir := flag.String("dir", "sessiond-data", "folder of the sessions")
	flag.Parse()
	if err := run(*addr, *redis, *dir); err != nil {
		log.Fatal(err)
	}
}

func run(addr, redis, dir string) (err error) {
	store, err := sessiond.Open(dir, sessiond.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	if redis != "" {
		ln, err := net.Listen("tcp", redis)
		if err != nil {
			return err
		}
		go func() { log.Println("Redis clients:", store.Serve(ln)) }() // ends with store.Close
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("open http://%s\n", ln.Addr())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	web := &http.Server{Handler: app{store.DB(0)}.routes(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- web.Serve(ln) }() // ends with web.Shutdown
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return web.Shutdown(context.Background())
	}
}

// app is the application: three pages and a table of sessions.
type app struct{ sessions *sessiond.DB }

func (a app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	return mux
}

func (a app) home(w http.ResponseWriter, r *http.Request) {
	id := sessionID(r)
	user, found, err := a.sessions.Get(r.Context(), id)
	if err == nil && found {
		_, err = a.sessions.Touch(r.Context(), id, lifetime) // a visit keeps the session alive
	}
	switch {
	case err != nil:
		fail(w, err)
	case !found:
		fmt.Fprintln(w, "You are not logged in.")
	default:
		fmt.Fprintf(w, "You are %q.\n", user)
	}
}

func (a app) login(w http.ResponseWriter, r *http.Request) {
	id := rand.Text() // a new one at each login, so that nobody can plant it
	if err := a.sessions.Set(r.Context(), id, []byte(r.FormValue("user")), lifetime); err != nil {
		fail(w, err)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: "session", Value: id, Path: "/", MaxAge: int(lifetime.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
	fmt.Fprintln(w, "Welcome.")
}

func (a app) logout(w http.ResponseWriter, r *http.Request) {
	if _, err := a.sessions.Delete(r.Context(), sessionID(r)); err != nil {
		fail(w, err)
		return
	}
	fmt.Fprintln(w, "Goodbye.")
}

// sessionID returns the visitor's session id, or "", which is nobody's.
func sessionID(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return cookie.Value
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "The sessions cannot be reached.", http.StatusServiceUnavailable)
}
