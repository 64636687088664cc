package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

// The pauses between attempts to open. Users wait for a locked folder, so the next attempt comes soon;
// room on a full disk may take long.
const (
	lockPause = 20 * time.Millisecond
	roomPause = time.Second
)

// open opens the store. It waits until the disk has room for that, and with --wait until no other
// process has the folder: if sessiond ended instead, its supervisor would start it again and again. A
// signal ends the wait, with no store and no error. An Open that is under way then ends with the
// process, which is safe because it has acknowledged nothing.
func (c config) open(options sessiond.Options, signals <-chan os.Signal, log *slog.Logger) (*sessiond.Store, error) {
	type outcome struct {
		store *sessiond.Store
		err   error
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opened := make(chan outcome, 1)
	go func() { // ends with ctx, or the process
		store, err := c.keepOpening(ctx, options, log)
		opened <- outcome{store, err}
	}()
	select {
	case o := <-opened:
		return o.store, o.err
	case sig := <-signals:
		log.Info("stopping", "signal", sig)
		return nil, nil
	}
}

// keepOpening opens the store as soon as it can, and logs once what it waits for.
func (c config) keepOpening(ctx context.Context, options sessiond.Options, log *slog.Logger) (*sessiond.Store, error) {
	said := ""
	for {
		store, err := sessiond.Open(c.dir, options)
		reason, pause := "", time.Duration(0)
		switch {
		case errors.Is(err, sessiond.ErrLocked) && c.wait:
			reason, pause = "another process has the data folder; waiting until it is free", lockPause
		case errors.Is(err, sessiond.ErrDiskFull):
			reason, pause = "the disk is full; waiting for room", roomPause
		case errors.Is(err, sessiond.ErrLocked):
			return nil, fmt.Errorf("%w, or take over when it ends, with --wait", err)
		default:
			return store, err
		}
		if reason != said {
			said = reason
			log.Warn(reason, "dir", c.dir, "err", err)
		}
		if err := ttl.System.Sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}
