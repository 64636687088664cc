package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// printMachine says where, when and how the figures were measured, as a list that is plain
// text and Markdown alike.
func printMachine(ctx context.Context, out io.Writer, t *tableRun) {
	where := "servers and load generator share all cores"
	if t.pin {
		where = fmt.Sprintf("servers on core %s, load generator on core %s (--pin)", serverCore, clientCore)
	}
	for _, item := range []string{
		"date: " + time.Now().UTC().Format("2006-01-02 15:04 MST"),
		fmt.Sprintf("machine: %s, %d cores, %s memory, Linux %s", firstField("/proc/cpuinfo", "model name"),
			runtime.NumCPU(), firstField("/proc/meminfo", "MemTotal"), firstLine("/proc/sys/kernel/osrelease")),
		"disk: " + diskSpeed(t.dir),
		"load of the machine before: " + firstLine("/proc/loadavg"),
		"sessiond: " + version(ctx, t.sessiond) + ", built with " + runtime.Version() + ", --cache-bytes " + bytesUnit(cacheBytes),
		"redis: " + version(ctx, t.redisServer) + ", appendonly yes, no rewrite of the file meanwhile",
		"processors: " + where,
		fmt.Sprintf("sessions: %d, bytes of a value that are random: %.0f %%; mix: %d %% GET, %d %% EXPIRE, %d %% SET with EX",
			t.sessions, t.bytes.randomShare*100, sessionMix.get, sessionMix.expire, 100-sessionMix.get-sessionMix.expire),
		fmt.Sprintf("measured: %v after %v, rounds: %d, servers in turn; figures are medians, and ratios"+
			" those of the rounds (and their range)", t.long, t.warm, t.rounds),
	} {
		_, _ = fmt.Fprintln(out, "- "+item) // the table after it tells if nobody reads
	}
	_, _ = fmt.Fprintln(out)
}

// diskSpeed measures how long it takes until a small write is on the disk below dir.
func diskSpeed(dir string) string {
	took, err := syncTimes(dir, 100)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("700 bytes appended and synced in %s (median of %d)", timeUnit(median(took).Seconds()), len(took))
}

func syncTimes(dir string, n int) (took []time.Duration, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "sync-probe")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = f.Close(), os.Remove(path) }() // nothing in it is wanted
	for range n {
		begun := time.Now()
		if _, err := f.Write(make([]byte, 700)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}

// firstField returns what stands behind the first name and its colon in a file.
func firstField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer func() { _ = f.Close() }() // it was only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ":")
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}
