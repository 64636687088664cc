package resp

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// The limits of the protocol are Redis', also those before the login. Only maxArgs is our own: since
// 7.0 Redis accepts any number of arguments.
const (
	maxInline      = 64 << 10
	maxArgs        = 1 << 20
	maxArgsNoLogin = 10
	maxBulkNoLogin = 16 << 10
)

// Buffer sizes.
const (
	smallBuffer    = 4 << 10  // what an idle connection keeps
	pipelineBuffer = 64 << 10 // what a busy connection may use without a large command
	keepArgs       = 1 << 10  // argument slots kept from one command to the next
	// A large copy is made in pieces, because the garbage collector waits for a copy when it stops
	// the world.
	movePiece = 256 << 10
)

// ErrIncomplete is returned by Reader.Next when no complete command has arrived.
var ErrIncomplete = errors.New("incomplete command")

// ErrQueryLimit is returned by Reader.Fill when one command is larger than Limits.Query.
var ErrQueryLimit = errors.New("command exceeds client-query-buffer-limit")

// ErrMemory is returned by Reader.Fill when the budget of authenticated clients is used up.
var ErrMemory = errors.New("clients hold too much together")

// ProtocolError is a violation of the protocol. The connection sends the text of Error to the client
// and closes.
type ProtocolError string

// Error returns the text for the client, which is Redis'.
func (e ProtocolError) Error() string { return "ERR Protocol error: " + string(e) }

// Limits are the limits of one command. They apply from the next Fill on.
type Limits struct {
	Bulk  int // bytes of one argument: proto-max-bulk-len
	Query int // bytes of one command: client-query-buffer-limit
}

// Reader cuts the bytes of one client into commands. A command that it returns is complete and within
// the limits. Its memory grows with the bytes that have arrived, not with a length that a client
// announces, and it scans no byte again when more arrive.
//
// It accepts what Redis accepts: arrays of bulk strings, of whose line ends only the length counts,
// inline commands, empty lines, "*0" and "*-1". It is for one goroutine. Create it with
// NewReader.
type Reader struct {
	// Limits may be changed at any time.
	Limits Limits
	// PreAuth is charged, before the login, for a buffer beyond 4 KiB. Nil means no limit.
	PreAuth Budget
	// Authenticated is charged, after the login, for a buffer beyond 64 KiB. Nil means no limit.
	Authenticated Budget

	src        io.Reader
	loggedIn   bool // the limits before the login do not apply
	buf        []byte
	start, end int // buf[start:end] has arrived and was not returned yet
	lastRead   int // bytes of the most recent read

	// The state of the command that begins at start. Offsets are relative to start.
	pos    int    // everything before pos was scanned
	inBulk bool   // the array header was read
	left   int    // arguments still to come
	size   int    // bytes of the argument at pos, -1 before its header was read
	spans  []span // the arguments before pos
	args   [][]byte
}

// span is the offset and the length of an argument.
type span struct{ off, len int }

// NewReader returns a reader of the commands that arrive from src. Its client has not logged
// in.
func NewReader(src io.Reader, limits Limits) Reader {
	return Reader{Limits: limits, src: src, buf: make([]byte, smallBuffer), size: -1}
}

// SetLoggedIn says whether the client has logged in. If it has not, lower limits apply.
func (r *Reader) SetLoggedIn(yes bool) {
	r.loggedIn = yes
	if yes {
		hold(r.PreAuth, 0)
	}
}

// Buffered returns the bytes that have arrived and were not returned as commands yet. They are valid
// until the next call of Fill.
func (r *Reader) Buffered() []byte { return r.buf[r.start:r.end] }

// Size returns the size of the buffer in bytes.
func (r *Reader) Size() int { return len(r.buf) }

// LastRead returns how many bytes the latest Fill has read.
func (r *Reader) LastRead() int { return r.lastRead }

// Next returns the arguments of the next command that has arrived, at least one. They are
// valid until the next call of Fill. Next returns ErrIncomplete if Fill must be called first, or a
// ProtocolError.
func (r *Reader) Next() ([][]byte, error) {
	for r.start < r.end {
		var done bool
		var err error
		if r.buf[r.start] == '*' {
			done, err = r.scanArray()
		} else {
			done, err = r.scanInline()
		}
		if err != nil {
			return nil, err
		}
		if !done {
			return nil, ErrIncomplete
		}
		if args := r.take(); len(args) > 0 {
			return args, nil
		}
	}
	return nil, ErrIncomplete
}

// take returns the arguments of the command that was scanned and moves start behind it.
func (r *Reader) take() [][]byte {
	r.args = slices.Grow(r.args[:0], len(r.spans))
	for _, s := range r.spans {
		at := r.start + s.off
		r.args = append(r.args, r.buf[at:at+s.len:at+s.len])
	}
	r.start += r.pos
	r.pos, r.inBulk, r.left, r.size = 0, false, 0, -1
	r.spans = r.spans[:0]
	return r.args
}

// scanArray continues with a command of the form "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".
func (r *Reader) scanArray() (done bool, err error) {
	if !r.inBulk {
		n, ok, err := r.header("too big mbulk count string", "invalid multibulk length")
		if !ok {
			return false, err
		}
		switch {
		case n > maxArgs:
			return false, ProtocolError("invalid multibulk length")
		case n > maxArgsNoLogin && !r.loggedIn:
			return false, ProtocolError("unauthenticated multibulk length")
		}
		r.inBulk, r.left = true, max(int(n), 0)
	}
	for r.left > 0 {
		if ok, err := r.scanBulk(); !ok {
			return false, err
		}
	}
	return true, nil
}

// scanBulk continues with one argument, "$3\r\nGET\r\n".
func (r *Reader) scanBulk() (done bool, err error) {
	if r.size < 0 {
		if c := r.rest(); len(c) > 0 && c[0] != '$' && bytes.IndexByte(c, '\r') >= 0 {
			return false, ProtocolError("expected '$', got '" + string(c[:1]) + "'")
		}
		n, ok, err := r.header("too big bulk count string", "invalid bulk length")
		if !ok {
			return false, err
		}
		switch {
		case n < 0 || n > int64(r.Limits.Bulk):
			return false, ProtocolError("invalid bulk length")
		case n > maxBulkNoLogin && !r.loggedIn:
			return false, ProtocolError("unauthenticated bulk length")
		}
		r.size = int(n)
	}
	if len(r.rest()) < r.size+2 {
		return false, nil
	}
	r.spans = append(r.spans, span{r.pos, r.size})
	r.pos += r.size + 2
	r.size = -1
	r.left--
	return true, nil
}

// header reads a line such as "*2\r\n" or "$3\r\n" at pos and moves behind it.
func (r *Reader) header(tooBig, invalid string) (n int64, ok bool, err error) {
	c := r.rest()
	i := bytes.IndexByte(c[:min(len(c), maxInline)], '\r')
	if i < 0 {
		if len(c) >= maxInline {
			return 0, false, ProtocolError(tooBig)
		}
		return 0, false, nil
	}
	if i+2 > len(c) {
		return 0, false, nil
	}
	n, valid := ParseInt(c[1:i])
	if !valid {
		return 0, false, ProtocolError(invalid)
	}
	r.pos += i + 2
	return n, true, nil
}

// rest returns the bytes of the current command that have arrived and were not scanned yet.
func (r *Reader) rest() []byte { return r.buf[r.start+r.pos : r.end] }

// scanInline continues with a command that a person has typed, "get k\n". Its arguments overwrite the
// line in the buffer: they are never longer than the line.
func (r *Reader) scanInline() (done bool, err error) {
	c := r.rest()
	i := bytes.IndexByte(c, '\n')
	if i < 0 {
		r.pos = r.end - r.start
		if r.pos > maxInline {
			return false, ProtocolError("too big inline request")
		}
		return false, nil
	}
	r.pos += i + 1
	line := r.buf[r.start : r.start+r.pos-1]
	if len(line) > maxInline {
		return false, ProtocolError("too big inline request")
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	spans, ok := splitInline(line, r.spans)
	if !ok {
		return false, ProtocolError("unbalanced quotes in request")
	}
	r.spans = spans
	return true, nil
}

// Fill waits for more bytes. Arguments returned before are no longer valid. It returns
// ErrQueryLimit, ErrMemory or a ProtocolError when the command under way exceeds a limit, or the error
// of the source.
func (r *Reader) Fill() error {
	if err := r.makeRoom(); err != nil {
		return err
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	r.lastRead = n
	if n > 0 {
		return nil
	}
	return err
}

// GoesOn reports whether more bytes are certain or likely to come: the rest of a command that has
// begun, or bytes that did not fit into the last read.
func (r *Reader) GoesOn() bool { return r.start < r.end || r.end == len(r.buf) }

// makeRoom moves the rest of the bytes to the front, and grows or shrinks the buffer: it doubles a
// full buffer, and shrinks one that is larger than an ordinary command needs.
func (r *Reader) makeRoom() error {
	have := r.end - r.start
	size := len(r.buf)
	switch {
	case have == size && have >= r.Limits.Query:
		return ErrQueryLimit
	case have == size:
		size = min(2*size, max(r.Limits.Query, smallBuffer))
		if r.size >= 0 { // not more than a large argument needs
			size = min(size, max(r.pos+r.size+len("\r\n"), pipelineBuffer))
		}
	case have == 0 && r.lastRead == size && size < pipelineBuffer:
		size *= 2
	case have < smallBuffer && r.lastRead < smallBuffer:
		size = smallBuffer
	case have < pipelineBuffer/2:
		size = min(size, pipelineBuffer)
	}
	if err := r.resize(size); err != nil {
		return err
	}
	r.start, r.end = 0, have
	if cap(r.args) > keepArgs {
		r.args = nil
	}
	if cap(r.spans) > keepArgs && len(r.spans) == 0 {
		r.spans = nil
	}
	return nil
}

// resize moves the rest of the bytes to the front of a buffer of that size.
func (r *Reader) resize(size int) error {
	if size == len(r.buf) {
		if r.start > 0 { // so a large command that arrives slowly is moved once, not at every read
			copy(r.buf, r.buf[r.start:r.end])
		}
		return nil
	}
	switch {
	case !r.loggedIn && !hold(r.PreAuth, size-smallBuffer):
		return ProtocolError("too many bytes from clients that have not logged in")
	case r.loggedIn && !hold(r.Authenticated, size-pipelineBuffer):
		return ErrMemory
	}
	buf := make([]byte, size)
	for from, to := r.buf[r.start:r.end], buf; len(from) > 0; {
		n := copy(to, from[:min(len(from), movePiece)])
		from, to = from[n:], to[n:]
	}
	r.buf = buf
	return nil
}
