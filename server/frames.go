package server

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// Limits of the protocol. They are Redis', those before login, too, but for maxArgs: Redis
// since 7.0 takes any number of arguments.
const (
	maxInline       = 64 << 10
	maxArgs         = 1 << 20
	maxArgsNoLogin  = 10
	maxBulkNoLogin  = 16 << 10
	maxHeaderDigits = 20
)

// Buffer sizes.
const (
	smallBuffer    = 4 << 10  // what an idle connection keeps
	pipelineBuffer = 64 << 10 // what a busy one may grow to without a large command
	keepArgs       = 1 << 10  // argument slots kept from one command to the next
	// Everybody waits for a copy that is under way when the garbage collector wants to stop
	// the world, so a large one is made in pieces.
	movePiece = 256 << 10
)

// strangersBuffer is what all connections that have not logged in may hold together, beyond
// the small buffer each of them has.
const strangersBuffer = 32 << 20

// clientsBuffer is what all clients that have logged in may hold together: large commands
// that have not arrived completely, transactions, and replies that were not sent.
const clientsBuffer = 1 << 30

// errIncomplete says that the buffer holds no complete command.
var errIncomplete = errors.New("incomplete command")

// protocolError is a violation of RESP. The connection tells the client and closes.
type protocolError string

func (e protocolError) Error() string { return "ERR Protocol error: " + string(e) }

// frames cuts the bytes of one client into commands. It stands before everything else:
// what it returns is complete and within the limits. Memory grows with the bytes that
// have arrived, never with a length that was only announced, and no byte is looked at
// again when more arrive.
//
// It accepts what Redis accepts: arrays of bulk strings whose line ends it does not
// inspect, inline commands, empty lines, "*0" and "*-1".
type frames struct {
	src      io.Reader
	limits   frameLimits
	loggedIn bool // lifts the limits that apply to strangers
	// strangers is charged, before login, for what goes beyond smallBuffer.
	strangers share
	// members is charged, once the client has logged in, for what goes beyond pipelineBuffer.
	members share

	buf        []byte
	start, end int // buf[start:end] has arrived and belongs to no command returned yet
	lastRead   int // bytes of the most recent read

	// The state of the command that begins at start. Offsets are relative to start.
	pos    int    // everything before pos has been looked at
	inBulk bool   // the array header was read
	left   int    // arguments still to come
	size   int    // bytes of the argument at pos, -1 before its header was read
	spans  []span // arguments found
	args   [][]byte
}

// frameLimits are the limits that can be set. They hold from the next fill on.
type frameLimits struct {
	bulk  int // bytes of one argument: proto-max-bulk-len
	query int // bytes of one command: client-query-buffer-limit
}

// span is where an argument lies: its offset and length.
type span struct{ off, len int }

func newFrames(src io.Reader) frames {
	return frames{
		src:    src,
		limits: frameLimits{bulk: defaultBulk, query: defaultQuery},
		buf:    make([]byte, smallBuffer),
		size:   -1,
	}
}

// setLoggedIn lifts or sets the limits for strangers.
func (f *frames) setLoggedIn(yes bool) {
	f.loggedIn = yes
	if yes {
		f.strangers.hold(0)
	}
}

// next returns the arguments of the next command that has arrived. They are valid until
// the following call of fill. It returns errIncomplete if fill must be called first, or a
// protocolError.
func (f *frames) next() ([][]byte, error) {
	for f.start < f.end {
		var done bool
		var err error
		if f.buf[f.start] == '*' {
			done, err = f.scanArray()
		} else {
			done, err = f.scanInline()
		}
		if err != nil {
			return nil, err
		}
		if !done {
			return nil, errIncomplete
		}
		if args := f.take(); len(args) > 0 {
			return args, nil
		}
	}
	return nil, errIncomplete
}

// take returns the arguments of the command just scanned and moves behind it.
func (f *frames) take() [][]byte {
	f.args = slices.Grow(f.args[:0], len(f.spans))
	for _, s := range f.spans {
		at := f.start + s.off
		f.args = append(f.args, f.buf[at:at+s.len:at+s.len])
	}
	f.start += f.pos
	f.pos, f.inBulk, f.left, f.size = 0, false, 0, -1
	f.spans = f.spans[:0]
	return f.args
}

// scanArray goes on with a command of the form "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".
func (f *frames) scanArray() (done bool, err error) {
	if !f.inBulk {
		n, ok, err := f.header("too big mbulk count string", "invalid multibulk length")
		if !ok {
			return false, err
		}
		switch {
		case n > maxArgs:
			return false, protocolError("invalid multibulk length")
		case n > maxArgsNoLogin && !f.loggedIn:
			return false, protocolError("unauthenticated multibulk length")
		}
		f.inBulk, f.left = true, max(int(n), 0)
	}
	for f.left > 0 {
		if ok, err := f.scanBulk(); !ok {
			return false, err
		}
	}
	return true, nil
}

// scanBulk goes on with one argument, "$3\r\nGET\r\n".
func (f *frames) scanBulk() (done bool, err error) {
	if f.size < 0 {
		if c := f.rest(); len(c) > 0 && c[0] != '$' && bytes.IndexByte(c, '\r') >= 0 {
			return false, protocolError("expected '$', got '" + string(c[:1]) + "'")
		}
		n, ok, err := f.header("too big bulk count string", "invalid bulk length")
		if !ok {
			return false, err
		}
		switch {
		case n < 0 || n > int64(f.limits.bulk):
			return false, protocolError("invalid bulk length")
		case n > maxBulkNoLogin && !f.loggedIn:
			return false, protocolError("unauthenticated bulk length")
		}
		f.size = int(n)
	}
	if len(f.rest()) < f.size+2 {
		return false, nil
	}
	f.spans = append(f.spans, span{f.pos, f.size})
	f.pos += f.size + 2
	f.size = -1
	f.left--
	return true, nil
}

// header reads a line such as "*2\r\n" or "$3\r\n" at pos and moves behind it.
func (f *frames) header(tooBig, invalid string) (n int64, ok bool, err error) {
	c := f.rest()
	i := bytes.IndexByte(c[:min(len(c), maxInline)], '\r')
	if i < 0 {
		if len(c) >= maxInline {
			return 0, false, protocolError(tooBig)
		}
		return 0, false, nil
	}
	if i+2 > len(c) {
		return 0, false, nil
	}
	n, valid := parseInt(c[1:i])
	if !valid {
		return 0, false, protocolError(invalid)
	}
	f.pos += i + 2
	return n, true, nil
}

// rest is what has arrived of the current command and was not looked at yet.
func (f *frames) rest() []byte { return f.buf[f.start+f.pos : f.end] }

// scanInline goes on with a command typed by a person, "get k\n". Its arguments replace
// the line in the buffer: they are never longer than what was typed.
func (f *frames) scanInline() (done bool, err error) {
	c := f.rest()
	i := bytes.IndexByte(c, '\n')
	if i < 0 {
		f.pos = f.end - f.start
		if f.pos > maxInline {
			return false, protocolError("too big inline request")
		}
		return false, nil
	}
	f.pos += i + 1
	line := f.buf[f.start : f.start+f.pos-1]
	if len(line) > maxInline {
		return false, protocolError("too big inline request")
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	spans, ok := splitInline(line, f.spans)
	if !ok {
		return false, protocolError("unbalanced quotes in request")
	}
	f.spans = spans
	return true, nil
}

// fill waits for more bytes. Arguments returned before are no longer valid. It returns
// errQueryLimit, errClientMemory or a protocolError when the command under way may not grow
// any more.
func (f *frames) fill() error {
	if err := f.makeRoom(); err != nil {
		return err
	}
	n, err := f.src.Read(f.buf[f.end:])
	f.end += n
	f.lastRead = n
	if n > 0 {
		return nil
	}
	return err
}

// goesOn reports whether more bytes are certain or likely to come: those of a command that has
// begun, or those that did not fit the last read.
func (f *frames) goesOn() bool { return f.start < f.end || f.end == len(f.buf) }

// errQueryLimit says that one command is larger than client-query-buffer-limit.
var errQueryLimit = errors.New("command exceeds client-query-buffer-limit")

// errClientMemory says that all clients together hold as much as they may.
var errClientMemory = errors.New("clients hold too much together")

// makeRoom moves what is left to the front, and grows or shrinks the buffer: it doubles
// when full, and goes back when an ordinary command would do with less.
func (f *frames) makeRoom() error {
	have := f.end - f.start
	size := len(f.buf)
	switch {
	case have == size && have >= f.limits.query:
		return errQueryLimit
	case have == size:
		size = min(2*size, max(f.limits.query, smallBuffer))
		if f.size >= 0 { // no more than a large argument under way asks for
			size = min(size, max(f.pos+f.size+len("\r\n"), pipelineBuffer))
		}
	case have == 0 && f.lastRead == size && size < pipelineBuffer:
		size *= 2
	case have < smallBuffer && f.lastRead < smallBuffer:
		size = smallBuffer
	case have < pipelineBuffer/2:
		size = min(size, pipelineBuffer)
	}
	if err := f.resize(size); err != nil {
		return err
	}
	f.start, f.end = 0, have
	if cap(f.args) > keepArgs {
		f.args = nil
	}
	if cap(f.spans) > keepArgs && len(f.spans) == 0 {
		f.spans = nil
	}
	return nil
}

// resize moves what is left to the front of a buffer of that size.
func (f *frames) resize(size int) error {
	if size == len(f.buf) {
		if f.start > 0 { // a large command that trickles in is moved once, not at every read
			copy(f.buf, f.buf[f.start:f.end])
		}
		return nil
	}
	switch {
	case !f.loggedIn && !f.strangers.hold(size-smallBuffer):
		return protocolError("too many bytes from clients that have not logged in")
	case f.loggedIn && !f.members.hold(size-pipelineBuffer):
		return errClientMemory
	}
	buf := make([]byte, size)
	for from, to := f.buf[f.start:f.end], buf; len(from) > 0; {
		n := copy(to, from[:min(len(from), movePiece)])
		from, to = from[n:], to[n:]
	}
	f.buf = buf
	return nil
}
