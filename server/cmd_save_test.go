package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that BGSAVE replies before the copy is made, that INFO and LASTSAVE show its result, and that
// SAVE waits for its copy.
func TestSave_Backup(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1_000_000)
	results := make(chan error)
	_, addr := startServer(t, clock, Config{Backup: func(context.Context) error { return <-results }})
	nc, r := dialServer(t, addr)
	clock.Set(5_000_000)
	tests := []struct {
		result   error
		status   string
		lastSave string
	}{
		{errors.New("no space left on device"), "err", "1000"},
		{nil, "ok", "5000"},
	}
	for _, tt := range tests {
		if got := ask(t, nc, r, "bgsave").text; got != "Background saving started" {
			t.Errorf("BGSAVE = %q", got)
		}
		fields := infoFields(t, ask(t, nc, r, "info persistence").text)
		if got := fields["rdb_bgsave_in_progress"]; got != "1" {
			t.Errorf("rdb_bgsave_in_progress:%s before the copy is made", got)
		}
		for _, line := range []string{"save", "bgsave"} {
			if got := ask(t, nc, r, line).text; got != string(errSaving) {
				t.Errorf("%s = %q, want %q", line, got, errSaving)
			}
		}
		results <- tt.result
		for fields["rdb_bgsave_in_progress"] != "0" {
			fields = infoFields(t, ask(t, nc, r, "info persistence").text)
		}
		if fields["rdb_last_bgsave_status"] != tt.status || fields["rdb_last_save_time"] != tt.lastSave {
			t.Errorf("after %v: status %s, saved at %s, want %s, %s", tt.result,
				fields["rdb_last_bgsave_status"], fields["rdb_last_save_time"], tt.status, tt.lastSave)
		}
	}
	go func() { results <- errors.New("no space left on device") }()
	if got := ask(t, nc, r, "save").text; !strings.HasPrefix(got, "ERR ") {
		t.Errorf("a SAVE that fails = %q", got)
	}
	go func() { results <- nil }()
	if got := ask(t, nc, r, "save").text; got != "OK" {
		t.Errorf("SAVE = %q", got)
	}
}

// Ensure that Shutdown does not wait until a large copy is made.
func TestSave_BackupAndShutdown(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 1)
	srv, addr := startServer(t, ttl.NewManual(1), Config{Backup: func(ctx context.Context) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}})
	nc, r := dialServer(t, addr)
	ask(t, nc, r, "bgsave")
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
