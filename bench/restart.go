package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"
)

// restartPlan is what the restart command does with a server: store sessions, kill it, start
// it again, and see how long it takes until it answers.
type restartPlan struct {
	sessions population
	rounds   int
	load     load          // at the time of the kill, in the second half of the rounds
	loadTime time.Duration // how long before the kill it begins
}

// revival is what was seen of one start after a kill.
type revival struct {
	reply    time.Duration // from exec to the first reply with a session
	cpu      time.Duration // that the server took of the processors until then
	resident int64         // right then
	folder   int64         // bytes, before the start
}

// restart measures both kinds of kill and prints them.
func (b *bench) restart(ctx context.Context, out io.Writer, settings []setting, plan restartPlan) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "server\tkilled\tsessions\tdata folder\tfirst reply: min\tmedian\tmax\tCPU: max\tmemory: max\t")
	for _, s := range settings {
		if err := b.restartOne(ctx, table, s, plan); err != nil {
			return err
		}
	}
	return table.Flush()
}

func (b *bench) restartOne(ctx context.Context, table io.Writer, s setting, plan restartPlan) (err error) {
	srv, err := b.prepare(s, b.dir)
	if err != nil {
		return err
	}
	defer func() {
		srv.kill()
		if !b.keep {
			err = errors.Join(err, srv.discard())
		}
	}()
	if err := srv.start(ctx); err != nil {
		return err
	}
	begun := time.Now()
	if err := b.fill(ctx, srv, plan.sessions, 0, time.Time{}); err != nil {
		return err
	}
	took := time.Since(begun)
	b.progress.step("%s: %d sessions stored in %v, %.0f a second", s.name, plan.sessions.count,
		took.Round(time.Millisecond), float64(plan.sessions.count)/took.Seconds())
	for _, busy := range []bool{false, true} {
		revivals, err := b.killAndRevive(ctx, srv, plan, busy)
		if err != nil {
			return err
		}
		printRevivals(table, srv.name, busy, plan.sessions.count, revivals)
	}
	return nil
}

// killAndRevive kills a running server and starts it again, round after round.
func (b *bench) killAndRevive(ctx context.Context, srv *server, plan restartPlan, busy bool) ([]revival, error) {
	var revivals []revival
	for round := range plan.rounds {
		if busy {
			if err := killUnderLoad(ctx, srv, plan); err != nil {
				return nil, err
			}
		}
		srv.kill()
		folder, err := folderSize(srv.dir)
		if err != nil {
			return nil, err
		}
		reply, err := srv.revive(ctx, plan.sessions, rand.IntN(plan.sessions.count))
		if err != nil {
			return nil, err
		}
		cpu, err := srv.cpu()
		if err != nil {
			return nil, err
		}
		resident, err := srv.resident()
		if err != nil {
			return nil, err
		}
		b.progress.step("%s: kill %d of %d, %s: first reply after %v, with %v of CPU", srv.name, round+1, plan.rounds,
			manner(busy), reply.Round(time.Millisecond/10), cpu)
		revivals = append(revivals, revival{reply, cpu, resident, folder})
	}
	return revivals, nil
}

// killUnderLoad kills the server in the middle of requests.
func killUnderLoad(ctx context.Context, srv *server, plan restartPlan) error {
	killed := make(chan struct{})
	kill := time.AfterFunc(plan.loadTime, func() {
		close(killed)              // first: the load fails as soon as the process is gone
		_ = srv.cmd.Process.Kill() // it may have ended already
	})
	defer kill.Stop()
	_, err := plan.load.run(ctx, srv, plan.sessions, interval{long: plan.loadTime + patience})
	select {
	case <-killed:
		return ctx.Err() // the load has failed, as it should
	default:
		return fmt.Errorf("load before the kill: %w", err)
	}
}

// revive starts the server and returns the time from exec to the first reply, which is the
// right value of session i.
func (s *server) revive(ctx context.Context, p population, i int) (time.Duration, error) {
	request, value := appendGet(nil, p, i), make([]byte, p.size(i))
	begun := time.Now()
	if err := s.launch(ctx); err != nil {
		return 0, err
	}
	var took time.Duration
	err := s.poll(ctx, func(c *conn) error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		r, err := head(c.in)
		if err != nil {
			return err
		}
		if r.n != len(value) {
			return errReply(fmt.Sprintf("%d bytes of session %d, want %d", r.n, i, len(value)))
		}
		if _, err := io.ReadFull(c.in, value); err != nil {
			return err
		}
		took = time.Since(begun)
		return nil
	})
	if err == nil && !bytes.Equal(value, p.value(i)) {
		err = fmt.Errorf("%s: session %d has come back with another value", s.name, i)
	}
	return took, err
}

func manner(busy bool) string {
	if busy {
		return "under load"
	}
	return "at rest"
}

func printRevivals(table io.Writer, name string, busy bool, sessions int, revivals []revival) {
	var replies []time.Duration
	var cpu time.Duration
	var resident, folder int64
	for _, r := range revivals {
		replies = append(replies, r.reply)
		cpu, resident, folder = max(cpu, r.cpu), max(resident, r.resident), max(folder, r.folder)
	}
	slices.Sort(replies)
	_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name, manner(busy), sessions, bytesUnit(float64(folder)),
		timeUnit(replies[0].Seconds()), timeUnit(median(replies).Seconds()), timeUnit(replies[len(replies)-1].Seconds()),
		timeUnit(cpu.Seconds()), bytesUnit(float64(resident)))
}
