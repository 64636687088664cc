package server

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sessiond/sessiond/storage"
)

// toyChannel is a toy of what SUBSCRIBE, PUBLISH and notifications of keys take: who listens, and a way
// to tell them all. Whoever tells waits for neither the disk nor a client.
type toyChannel struct {
	mu          sync.Mutex
	subscribers []*conn
}

func (ch *toyChannel) subscribe(c *call) error {
	c.startPushes()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.subscribers = append(ch.subscribers, c.conn)
	c.out.OK()
	return nil
}

// publish tells at once, or, inside EXEC, when that is committed.
func (ch *toyChannel) publish(c *call) error {
	e := storage.Event{Name: "message", Key: storage.Key{Name: []byte("channel")}, Data: c.args[1]}
	if c.tx == nil {
		ch.notify(0, []storage.Event{e})
	} else {
		c.tx.Emit(e)
	}
	c.out.OK()
	return nil
}

// notify pushes a line for each event to all subscribers, which get it once b was passed. It is the listener
// of the keyspace, too.
func (ch *toyChannel) notify(b storage.Barrier, events []storage.Event) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, e := range events {
		for _, c := range ch.subscribers {
			c.push(segment{bytes: fmt.Appendf(nil, "+%s %s %s\r\n", e.Name, e.Key.Name, e.Data), barrier: b})
		}
	}
}

// Ensure that a row can tell other connections, and that a handler's event reaches them once, after EXEC
// too, and not at all if it did not happen. The rows of ECHO and PING are lent for it.
func TestToyChannel(t *testing.T) {
	t.Parallel()
	srv, dial := startNetwork(t, "tcp", Config{})
	ch := &toyChannel{}
	rows := srv.table.byName
	rows["echo"].run, rows["ping"].run = ch.subscribe, ch.publish
	set := rows["set"].run
	rows["set"].run = func(c *call) error {
		err := set(c)
		if err == nil {
			c.tx.Emit(storage.Event{Name: "set", Key: c.key(1)})
		}
		return err
	}
	srv.keyspace.Listen(ch.notify)

	subscriber, heard := dial()
	say(t, subscriber, "ECHO channel\r\n")
	expectLine(t, heard, "+OK")
	other, replies := dial()
	for _, step := range []struct {
		line    string
		replies []string
		pushes  []string
	}{
		{"SET a 1", []string{"+OK"}, []string{"+set a"}},
		{"PING hello", []string{"+OK"}, []string{"+message channel hello"}},
		{"SET a 1 EX nonsense", []string{"-ERR value is not an integer or out of range"}, nil},
		{"MULTI\r\nSET b 1\r\nPING inside\r\nSET c 1", []string{"+OK", "+QUEUED", "+QUEUED", "+QUEUED"}, nil},
		{"EXEC", []string{"*3", "+OK", "+OK", "+OK"}, []string{"+set b", "+message channel inside", "+set c"}},
		{"MULTI\r\nSET d 1\r\nDISCARD", []string{"+OK", "+QUEUED", "+OK"}, nil},
		{"WATCH a\r\nSET a 2\r\nMULTI\r\nPING never\r\nEXEC", []string{"+OK", "+OK", "+OK", "+QUEUED", "*-1"}, []string{"+set a"}},
		{"SET f 1", []string{"+OK"}, []string{"+set f"}},
	} {
		say(t, other, step.line+"\r\n")
		for _, want := range step.replies {
			expectLine(t, replies, want)
		}
		for _, want := range step.pushes {
			expectLine(t, heard, want)
		}
	}
}
