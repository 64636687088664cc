package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sessiond/sessiond"

	"github.com/sessiond/sessiond/internal/paths"
)

// drainTime is how long clients may take to read their last replies when sessiond stops. It is half of
// the time that docker grants, so that the store is closed before docker kills the process.
const drainTime = 5 * time.Second

// serve opens the store, then the ports, and serves until a signal or SHUTDOWN.
func serve(c config, stdout io.Writer, lines *lineQueue) (err error) {
	log, level := c.newLog(lines)
	out := &lineQueue{to: stdout, failed: func(err error) { log.Warn("standard output is closed", "err", err) }}
	defer out.flush()
	addrs, err := c.resolve()
	if err != nil {
		return err
	}
	certs, err := loadCertificates(c.tls, log)
	if err != nil {
		return err
	}
	defer onHangup(func() { certs.reload(log) })()
	signals := make(chan os.Signal, 2) // the one that stops, the one that hurries
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	asked := make(chan struct{})
	defer keepMemory(c.cacheBytes)()

	options := c.options()
	options.Logger, options.LogLevel = log, level
	options.OnShutdown = func() { close(asked) }
	options.OnFailure = func(error) { endAtOnce(lines) }
	store, err := c.open(options, signals, log)
	if store == nil {
		return err // nil if a signal came first
	}
	defer func() {
		if closeErr := store.Close(); err == nil {
			err = closeErr
		}
	}()
	listeners, err := c.listen(addrs, certs, log)
	if err != nil {
		return err
	}
	defer startControl(c.dir, store.Backup, log)()
	served := make(chan error, 1)
	go func() { served <- store.Serve(listeners...) }() // ends with stop
	// A lineQueue returns no error.
	_, _ = io.WriteString(out, readyLine(listeners, store.Found(), c.durability))

	select {
	case sig := <-signals:
		log.Info("stopping", "signal", sig)
	case <-asked:
		log.Info("stopping", "command", "SHUTDOWN")
	case err := <-served:
		return err
	}
	stop(store, signals, log)
	if err := <-served; !errors.Is(err, sessiond.ErrServerClosed) {
		return err
	}
	return nil
}

// options returns the options that the flags ask for.
func (c config) options() sessiond.Options {
	return sessiond.Options{
		Durability:     c.durability,
		Databases:      c.databases,
		CacheBytes:     c.cacheBytes,
		LogBytes:       c.logSize,
		MaxDisk:        c.maxDisk,
		BackupDir:      c.backupDir,
		Password:       c.password,
		Users:          c.users,
		ACLFile:        c.aclFile,
		MaxClients:     c.maxClients,
		MaxBulk:        c.maxBulk,
		QueryBuffer:    c.queryBuffer,
		OutputLimits:   c.outputLimits,
		IdleTimeout:    c.idle,
		RenameCommands: c.renames,
		TCPKeepAlive:   c.keepAlive,
	}
}

// endAtOnce ends the process because changes can no longer be written safely, which was logged. It
// closes nothing, because that may take long on a broken disk.
func endAtOnce(lines *lineQueue) {
	lines.flush()
	os.Exit(exitStoreFailed)
}

// newLog returns a log to w and its level. It first logs the messages about the command line.
func (c config) newLog(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.logLevel)
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
	for _, n := range c.startMessages {
		log.Log(context.Background(), n.level, n.message, n.attrs...)
	}
	return log, level
}

// onHangup calls fn at each SIGHUP until stop has returned.
func onHangup(fn func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	var running sync.WaitGroup
	running.Go(func() { // ends with the channel
		for range signals {
			fn()
		}
	})
	return func() {
		signal.Stop(signals)
		close(signals)
		running.Wait()
	}
}

// stop stops serving. It waits for the clients for drainTime or until the next signal.
func stop(store *sessiond.Store, signals <-chan os.Signal, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := store.Shutdown(ctx); err != nil {
		log.Warn("clients were cut before they had all their replies", "err", err)
	}
}

// readyLine returns the only line of standard output. It says whether the store is new: if sessiond was
// started in another working folder by mistake, this explains why everybody is logged out.
func readyLine(listeners []net.Listener, found sessiond.Found, durability sessiond.Durability) string {
	holds := plural(found.Sessions, "session")
	if found.New {
		holds = "new store"
	}
	return fmt.Sprintf("sessiond %s listening on %s; data in %s; %s; durability %v\n",
		sessiond.Version, joinAddresses(listeners), found.Dir, holds, durability)
}

func joinAddresses(listeners []net.Listener) string {
	names := make([]string, len(listeners))
	for i, ln := range listeners {
		names[i] = ln.Addr().String()
		if ln.Addr().Network() == "unix" {
			_ = paths.Absolute(&names[i]) // or as it was given
		}
		if _, ok := ln.(*tlsListener); ok {
			names[i] += " (TLS)"
		}
	}
	return strings.Join(names, ", ")
}
