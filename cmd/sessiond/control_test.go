//go:build unix

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// Ensure that a tool gets the report or the error, that other users cannot connect, and that the socket
// is removed with the server.
func TestControl_Backup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := sessiond.BackupReport{Made: 1700000000123, Records: map[int]int64{3: 5}, Bytes: 7, Copied: 6}
	stop := startControl(dir, func(_ context.Context, to string, options sessiond.BackupOptions) (sessiond.BackupReport, error) {
		options.Progress(3, 7)
		if to != "/a folder/of 100%&more" {
			return sessiond.BackupReport{}, errors.New("back up to " + to + ": no room\non the disk")
		}
		return want, nil
	}, slog.New(slog.DiscardHandler))
	ctx := context.Background()
	var done, total int64
	progress := sessiond.BackupOptions{Progress: func(a, b int64) { done, total = a, b }}
	got, err := askBackup(ctx, dir, "/a folder/of 100%&more", progress)
	if err != nil || got.Made != want.Made || got.Records[3] != 5 || got.Bytes != 7 || got.Copied != 6 {
		t.Errorf("report %+v, %v, want %+v", got, err, want)
	}
	if done != 3 || total != 7 {
		t.Errorf("the tool is told that %d of %d bytes are copied, want 3 of 7", done, total)
	}
	if _, err := askBackup(ctx, dir, "/x", sessiond.BackupOptions{}); err == nil || err.Error() != "back up to /x: no room\non the disk" {
		t.Errorf("error %v", err)
	}
	if info, err := os.Stat(controlSocket(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	stop()
	if _, err := askBackup(ctx, dir, "/x", sessiond.BackupOptions{}); !errors.Is(err, errNoServer) {
		t.Errorf("after the end: %v, want %v", err, errNoServer)
	}
	if _, err := os.Stat(controlSocket(dir)); err == nil {
		t.Error("the socket is still there")
	}
}

// Ensure that the end of the server, and that of the tool, call a backup off, and that a
// client which says nothing does not hold up the end.
func TestControl_Stop(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan error, 1)
	endless := func(ctx context.Context, _ string, _ sessiond.BackupOptions) (sessiond.BackupReport, error) {
		begun <- struct{}{}
		select {
		case <-ctx.Done():
			ended <- nil
		case <-time.After(patience):
			ended <- errors.New("the backup was not called off")
		}
		return sessiond.BackupReport{}, errors.New("called off")
	}
	for _, whose := range []string{"server", "tool"} {
		dir := t.TempDir()
		stop := startControl(dir, endless, slog.New(slog.DiscardHandler))
		silent, err := net.Dial("unix", controlSocket(dir))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		answer := make(chan error, 1)
		go func() {
			_, err := askBackup(ctx, dir, "/x", sessiond.BackupOptions{})
			answer <- err
		}()
		<-begun
		if whose == "tool" {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		stop()
		if whose == "server" {
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err := <-answer; err == nil || err.Error() != "called off" {
				t.Errorf("the tool is told %v", err)
			}
		}
	}
}
