package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that the figures per second are the mean of the last sixteen samples of 100 ms, and
// that a time without samples counts as what it was.
func TestRates_Mean(t *testing.T) {
	t.Parallel()
	type step struct {
		after    time.Duration // since the step before
		commands int64         // that came meanwhile
		want     int64         // per second
	}
	for name, steps := range map[string][]step{
		"nothing":           {{0, 0, 0}, {100 * time.Millisecond, 0, 0}},
		"too early":         {{99 * time.Millisecond, 1000, 0}, {time.Millisecond, 0, 625}},
		"one sample":        {{100 * time.Millisecond, 16, 10}, {1500 * time.Millisecond, 0, 10}, {100 * time.Millisecond, 0, 0}},
		"steady":            {{1600 * time.Millisecond, 1600, 1000}, {100 * time.Millisecond, 100, 1000}},
		"an odd interval":   {{150 * time.Millisecond, 240, 100}},
		"a day of nothing":  {{24 * time.Hour, 0, 0}, {100 * time.Millisecond, 160, 100}},
		"the clock is back": {{-time.Hour, 1000, 0}, {100 * time.Millisecond, 16, 10}},
		"the clock jumps":   {{24 * time.Hour, 86400, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sum totals
			var r rates
			now := ttl.Instant(1_000_000)
			r.reset(now)
			for i, s := range steps {
				now = now.Add(s.after)
				sum.commands.Add(s.commands)
				r.sample(now, &sum)
				if got := r.mean().commands; got != s.want {
					t.Errorf("step %d: %d commands per second, want %d", i, got, s.want)
				}
			}
		})
	}
}

// Ensure that INFO shows the rates of several clients by the server's clock, and that CONFIG RESETSTAT
// resets them.
func TestInfo_PerSecond(t *testing.T) {
	t.Parallel()
	clock := ttl.NewManual(1_000_000)
	_, addr := startServer(t, clock, Config{})
	first, r1 := dialServer(t, addr)
	second, r2 := dialServer(t, addr)
	fields := func() map[string]string {
		t.Helper()
		return infoFields(t, ask(t, first, r1, "info stats").text)
	}
	for range 159 {
		ask(t, first, r1, "get k")
		ask(t, second, r2, "get k")
	}
	ask(t, second, r2, "ping")
	ask(t, second, r2, "ping")
	if got := fields()["instantaneous_ops_per_sec"]; got != "0" {
		t.Errorf("instantaneous_ops_per_sec = %s before there is a sample, want 0", got)
	}
	clock.Advance(100 * time.Millisecond)
	got := fields()
	if want := fmt.Sprint((2*159 + 2 + 1) * 10 / rateSamples); got["instantaneous_ops_per_sec"] != want {
		t.Errorf("instantaneous_ops_per_sec = %s, want %s", got["instantaneous_ops_per_sec"], want)
	}
	if got["instantaneous_input_kbps"] == "0.00" || got["instantaneous_output_kbps"] == "0.00" {
		t.Errorf("kilobytes per second: %s in, %s out", got["instantaneous_input_kbps"], got["instantaneous_output_kbps"])
	}
	if got["keyspace_misses"] != "318" || got["keyspace_hits"] != "0" {
		t.Errorf("keyspace_misses = %s, keyspace_hits = %s, want 318 and 0", got["keyspace_misses"], got["keyspace_hits"])
	}
	ask(t, first, r1, "config resetstat")
	for name, value := range fields() {
		switch name {
		case "instantaneous_ops_per_sec", "keyspace_misses", "instantaneous_input_kbps":
			if value != "0" && value != "0.00" {
				t.Errorf("%s = %s after CONFIG RESETSTAT", name, value)
			}
		}
	}
}
