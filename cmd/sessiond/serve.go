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
)

// drainTime is how long clients have to take their last replies when sessiond stops.
const drainTime = 10 * time.Second

// serve opens the store, then the ports, and serves until a signal or SHUTDOWN.
func serve(c config, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.logLevel}))
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

	store, err := c.open(sessiond.Options{
		Durability:     c.durability,
		Databases:      c.databases,
		CacheBytes:     c.cacheBytes,
		MaxDisk:        c.maxDisk,
		BackupDir:      c.backupDir,
		Logger:         log,
		Password:       c.password,
		Users:          c.users,
		ACLFile:        c.aclFile,
		MaxClients:     c.maxClients,
		MaxBulk:        c.maxBulk,
		QueryBuffer:    c.queryBuffer,
		OutputBuffer:   c.outputBuffer,
		IdleTimeout:    c.idle,
		OnShutdown:     func() { close(asked) },
		RenameCommands: c.renames,
	}, signals, log)
	if store == nil {
		return err // nil if a signal came first
	}
	defer func() {
		if closeErr := store.Close(); err == nil {
			err = closeErr
		}
	}()
	listeners, err := c.listen(addrs, certs)
	if err != nil {
		return err
	}
	defer startControl(c.dir, store.Backup, log)()
	served := make(chan error, 1)
	go func() { served <- store.Serve(listeners...) }() // ends with stop
	_, err = fmt.Fprintf(stdout, "sessiond %s listening on %s; %v\n", sessiond.Version, joinAddresses(listeners), c)
	if err != nil {
		log.Warn("standard output is closed", "err", err)
	}

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

// onHangup calls fn at each SIGHUP, until the function it returns has returned.
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

// stop lets the clients finish, for drainTime or until the next signal.
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

func joinAddresses(listeners []net.Listener) string {
	names := make([]string, len(listeners))
	for i, ln := range listeners {
		names[i] = ln.Addr().String()
		if _, ok := ln.(*tlsListener); ok {
			names[i] += " (TLS)"
		}
	}
	return strings.Join(names, ", ")
}
