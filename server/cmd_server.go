package server

import (
	"context"
	"strconv"

	"github.com/sessiond/sessiond/storage"
)

// runTime replies in whole milliseconds, so the microseconds end in three zeros: the clock that
// judges deadlines has that resolution.
func runTime(c *call) error {
	now := int64(c.srv.keyspace.Now())
	c.out.Array(2)
	c.out.BulkString(strconv.FormatInt(now/1000, 10))
	c.out.BulkString(strconv.FormatInt(now%1000*1000, 10))
	return nil
}

// runRole describes a master without replicas.
func runRole(c *call) error {
	c.out.Array(3)
	c.out.BulkString("master")
	c.out.Int(0)
	c.out.Array(0)
	return nil
}

func runDebug(*call) error { return errDebug }

// save makes every change that was made before the call durable in any durability mode. Then it
// makes the copy, if the program makes copies. A stop of the server ends it, as it ends a BGSAVE of
// Redis.
func (s *Server) save(ctx context.Context) error {
	if err := s.keyspace.Sync(ctx, storage.Everything); err != nil {
		return err
	}
	if s.backup != nil {
		if err := s.backup(s.stopped); err != nil {
			return err
		}
	}
	s.lastSave.Store(int64(s.keyspace.Now()) / 1000)
	s.stats.saveFailed.Store(false)
	return nil
}

func runSave(c *call) error {
	if c.srv.stats.saving.Load() {
		return errSaving
	}
	if err := c.srv.save(context.Background()); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

// runBGSave accepts SCHEDULE, which has no effect because there is no rewrite to wait for. Only one
// BGSAVE runs at a time.
func runBGSave(c *call) error {
	if len(c.args) > 2 || len(c.args) == 2 && !c.is(1, "SCHEDULE") {
		return errSyntax
	}
	srv := c.srv
	if !srv.stats.saving.CompareAndSwap(false, true) {
		return errSaving
	}
	srv.running.Go(func() {
		defer srv.stats.saving.Store(false)
		if err := srv.save(context.Background()); err != nil {
			srv.stats.saveFailed.Store(true)
			srv.log.Error("background save failed", "err", err)
		}
	})
	c.out.Simple("Background saving started")
	return nil
}

func runLastSave(c *call) error {
	c.out.Int(c.srv.lastSave.Load())
	return nil
}

// parseShutdown follows Redis: words may be repeated, SAVE excludes NOSAVE, and ABORT excludes all
// others.
func parseShutdown(args [][]byte) (abort bool, err error) {
	var save, nosave, other bool
	for _, arg := range args {
		switch {
		case equalFold(arg, "SAVE"):
			save = true
		case equalFold(arg, "NOSAVE"):
			nosave = true
		case equalFold(arg, "NOW"), equalFold(arg, "FORCE"):
			other = true
		case equalFold(arg, "ABORT"):
			abort = true
		default:
			return false, errSyntax
		}
	}
	if save && nosave || abort && (save || nosave || other) {
		return false, errSyntax
	}
	return abort, nil
}

// runShutdown asks the program to stop and closes the connection without a reply, which tells
// clients that it worked. SAVE and NOSAVE are the same: every change is on disk anyway.
func runShutdown(c *call) error {
	abort, err := parseShutdown(c.args[1:])
	switch {
	case err != nil:
		return err
	case abort:
		return errNoShutdown // a stop begins at once and cannot be cancelled
	case c.srv.stop == nil:
		c.srv.log.Warn("SHUTDOWN refused: the program does not offer it", "client", c.id)
		return errShutdown
	}
	c.srv.log.Info("a client asked for shutdown", "client", c.id)
	c.srv.stop()
	c.closing = true
	return nil
}
