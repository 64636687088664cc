package compat_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sessiond/sessiond/compat_test/proc"
)

const (
	// checkTime bounds the search for an order of one history.
	checkTime = 5 * time.Second
	// historySize is about how many operations a history has. The search may take a time
	// that grows exponentially with those under way at once, so histories are many, not long.
	historySize = 200
)

// Ensure that all clients together see one store that does one thing after the other, each
// between the call and the reply: also over kill -9, in every durability mode.
//
// SESSIOND_LINEAR_HISTORIES is the number of histories for each mode, and SESSIOND_LINEAR_SEED
// makes the same plans again; what becomes of them is up to the scheduler.
func TestLinear_Histories(t *testing.T) {
	histories, seed := number(t, "SESSIOND_LINEAR_HISTORIES", 25), number(t, "SESSIOND_LINEAR_SEED", time.Now().UnixNano())
	for _, d := range durabilities {
		t.Run(d.mode, func(t *testing.T) {
			flags := []string{"--durability", d.mode, smallCache}
			if proc.IsRedis() {
				flags = nil
			}
			t.Logf("SESSIOND_LINEAR_SEED=%d", seed)
			s := proc.Start(t, flags...)
			operations, cutOff, undecided, spent := 0, 0, 0, time.Duration(0)
			for i := range histories {
				h := newHistory(t, s, uint64(seed), uint64(i))
				h.write()
				operations += len(h.operations)
				cutOff += h.cutOff
				begin := time.Now()
				if h.check() == porcupine.Unknown {
					undecided++
				}
				spent += time.Since(begin)
			}
			t.Logf("%d histories, %d operations, %d cut off, checked in %v; %d not decided in %v each", histories, operations,
				cutOff, spent.Round(time.Millisecond), undecided, checkTime)
			if undecided > int(histories)/10 {
				t.Error("too many histories were not decided")
			}
		})
	}
}

// history is what some clients asked and heard over a few lives of a server.
type history struct {
	t      *testing.T
	server *proc.Server
	rng    *rand.Rand
	number uint64
	groups []group
	begin  time.Time

	lives, clients, each int // of the server, in each life, and operations of each client

	mu         sync.Mutex
	operations []porcupine.Operation
	cutOff     int           // operations without a reply
	fatal      int           // how many operations end the life
	end        chan struct{} // closed when it is time
}

// group is a few keys that one transaction may touch: sessions and a counter.
type group struct {
	name     string
	sessions []string
	counter  string
}

func newHistory(t *testing.T, s *proc.Server, seed, number uint64) *history {
	h := &history{
		t: t, server: s, rng: rand.New(rand.NewPCG(seed, number)), number: number, begin: time.Now(),
	}
	h.lives = 1 + h.rng.IntN(3)
	if proc.IsRedis() {
		h.lives = 1 // the packaged Redis is here to judge the model, not to be killed
	}
	h.clients = 2 + h.rng.IntN(19)
	h.each = 1 + historySize/h.clients/h.lives
	for i := range 1 + h.clients/4 + h.rng.IntN(2) {
		g := group{name: fmt.Sprintf("%d:%d", number, i)}
		g.counter = "n:" + g.name
		for k := range 1 + h.rng.IntN(2) {
			g.sessions = append(g.sessions, fmt.Sprintf("s:%s:%d", g.name, k))
		}
		h.groups = append(h.groups, g)
	}
	return h
}

// write lets clients work, ends the server in the middle, and starts it again, a few times;
// and then reads every key.
func (h *history) write() {
	h.t.Helper()
	for life := range h.lives {
		h.fatal, h.end = len(h.operations)+1+h.rng.IntN(h.each*h.clients), make(chan struct{})
		var wg sync.WaitGroup
		for i := range h.clients {
			rng := rand.New(rand.NewPCG(h.rng.Uint64(), 0))
			wg.Go(func() { h.client(i, life, rng) })
		}
		all := make(chan struct{})
		go func() { // ends with the clients
			wg.Wait()
			close(all)
		}()
		if proc.IsRedis() {
			<-all
			continue
		}
		select {
		case <-h.end:
		case <-all:
		}
		h.server.Kill()
		<-all
		h.server.Restart()
	}
	h.readAll()
}

// client asks one thing after the other until it has asked enough or the server is gone.
func (h *history) client(id, life int, rng *rand.Rand) {
	conn, err := net.Dial("tcp", h.server.Addr)
	if err != nil {
		return // the server ended before
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * proc.Patience)); err != nil {
		h.t.Error(err)
		return
	}
	r := bufio.NewReader(conn)
	for i := range h.each {
		g := h.groups[rng.IntN(len(h.groups))]
		p := planner{rng, g, fmt.Sprintf("%d.%d.%d", id, life, i), time.Now().UnixMilli()}
		there := false
		if p.IntN(8) == 0 {
			there = h.swap(conn, r, id, p)
		} else {
			_, there = h.ask(conn, r, id, asked{group: g.name, step: p.plan()})
		}
		if !there {
			return
		}
	}
}

// swap watches a key, reads it, and replaces it if it is still the same.
func (h *history) swap(conn io.Writer, r *bufio.Reader, id int, p planner) bool {
	key := p.session()
	if _, err := io.WriteString(conn, proc.Command("WATCH", key)); err != nil {
		return false
	}
	if _, err := proc.ReadReply(r); err != nil {
		return false // nobody hears of a WATCH but who sent it
	}
	seen, there := h.ask(conn, r, id, asked{group: p.name, step: step{commands: [][]string{{"GET", key}}}})
	if !there {
		return false
	}
	s := step{tx: true, commands: [][]string{{"SET", key, p.value}}}
	_, there = h.ask(conn, r, id, asked{group: p.name, step: s, watched: seen})
	return there
}

// ask sends a step and adds it to the history with what came back, which it returns.
func (h *history) ask(conn io.Writer, r *bufio.Reader, id int, in asked) (reply string, there bool) {
	in.under = span{from: time.Now().UnixMilli()}
	if proc.IsRedis() {
		in.under.from -= redisAfterlife
	}
	o := porcupine.Operation{ClientId: id, Call: int64(time.Since(h.begin)), Output: unanswered}
	_, err := io.WriteString(conn, in.step.request())
	if err == nil {
		if reply, err = readReplies(r, in.step.replies()); err == nil {
			o.Output = reply
		}
	}
	in.under = in.under.until()
	o.Input, o.Return = in, int64(time.Since(h.begin))
	if err != nil && !proc.ErrClosed(err) {
		h.t.Errorf("%v: %v", in.step.commands, err)
	}
	if o.Output == unanswered && in.step.reads() {
		return "", false // it changed nothing and told nothing
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.operations = append(h.operations, o); len(h.operations) == h.fatal {
		close(h.end)
	}
	if o.Output == unanswered {
		h.cutOff++
	}
	return reply, err == nil
}

// reads reports whether the step changes nothing.
func (s step) reads() bool {
	return !slices.ContainsFunc(s.commands, func(c []string) bool { return c[0] != "GET" && c[0] != "PEXPIRETIME" })
}

// readAll adds a reading of every key to the history.
func (h *history) readAll() {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.server.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, g := range h.groups {
		for _, k := range append(g.sessions, g.counter) {
			for _, command := range []string{"GET", "PEXPIRETIME"} {
				if _, there := h.ask(conn, r, h.clients, asked{group: g.name, step: step{commands: [][]string{{command, k}}}}); !there {
					h.t.Fatalf("%s %s: the server is gone", command, k)
				}
			}
		}
	}
}

// check looks for an order that explains the history.
func (h *history) check() porcupine.CheckResult {
	h.t.Helper()
	model := linearModel()
	result := porcupine.CheckOperationsTimeout(model, h.operations, checkTime)
	if result != porcupine.Illegal {
		return result
	}
	_, info := porcupine.CheckOperationsVerbose(model, h.operations, checkTime)
	h.t.Errorf("history %d of %d operations is not linearizable%s", h.number, len(h.operations), picture(model, info))
	return result
}

// picture keeps a page to look at and returns where it is.
func picture(model porcupine.Model, info porcupine.LinearizationInfo) string {
	file, err := os.CreateTemp("", "linear-*.html")
	if err == nil {
		err = porcupine.Visualize(model, info, file)
	}
	if err != nil {
		return fmt.Sprintf(" (no picture: %v)", err)
	}
	return ": see " + file.Name()
}

// planner makes a step of one client in one group.
type planner struct {
	*rand.Rand
	group
	value string // like no other
	now   int64
}

func (p planner) session() string { return p.sessions[p.IntN(len(p.sessions))] }

// soon is a deadline that may be met within the history; later is one after it.
func (p planner) soon() string  { return strconv.FormatInt(p.now+p.Int64N(100), 10) }
func (p planner) later() string { return strconv.FormatInt(p.now+3600_000+p.Int64N(3600_000), 10) }

func (p planner) plan() step {
	if p.IntN(5) > 0 {
		return step{commands: [][]string{p.one()}}
	}
	s := step{tx: true}
	for range 1 + p.IntN(4) {
		s.commands = append(s.commands, p.part())
	}
	return s
}

// one is a command by itself.
func (p planner) one() []string {
	k := p.session()
	switch p.IntN(16) {
	case 0:
		return []string{"SET", k, p.value, "PX", strconv.Itoa(1 + p.IntN(100))}
	case 1:
		return []string{"SET", k, p.value, "PXAT", p.soon()}
	case 2:
		return []string{"PEXPIREAT", k, p.soon()}
	case 3:
		return []string{"PEXPIRE", k, strconv.Itoa(p.IntN(100))}
	case 4:
		return []string{"PEXPIREAT", p.counter, p.soon()}
	case 5, 6, 7:
		return []string{"GET", k}
	case 8:
		return []string{"PEXPIRETIME", k}
	case 9:
		if len(p.sessions) > 1 {
			return []string{"RENAME", p.sessions[0], p.sessions[1]}
		}
	}
	return p.part()
}

// part is a command that may stand in a transaction: none of them gives a key a deadline so
// near that the next one does not know whether it is due.
func (p planner) part() []string {
	k := p.session()
	switch p.IntN(14) {
	case 0:
		return []string{"SET", k, p.value}
	case 1:
		return []string{"SET", k, p.value, "NX"}
	case 2:
		return []string{"SET", k, p.value, "XX", "KEEPTTL"}
	case 3:
		return []string{"SET", k, p.value, "EX", strconv.Itoa(3600 + p.IntN(3600))}
	case 4:
		return []string{"GETDEL", k}
	case 5:
		return []string{"DEL", k}
	case 6:
		return []string{"EXPIRE", k, strconv.Itoa(3600 + p.IntN(3600))}
	case 7:
		return []string{"PEXPIREAT", k, p.later()}
	case 8:
		return []string{"PERSIST", k}
	case 9:
		return []string{"GETEX", k, "PXAT", p.later()}
	case 10:
		return []string{"GET", k}
	}
	return []string{"INCR", p.counter}
}
