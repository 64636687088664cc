package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sessiond/sessiond/ttl"
)

// OutputLimits limit the replies that wait for one client, as client-output-buffer-limit of
// redis.conf does. Each class of clients has a hard limit in bytes, a soft limit in bytes, and
// seconds. A client over the hard limit is closed at once, and one that stays over the soft limit for
// more than these seconds, too. Zero bytes mean no limit. All clients of sessiond are of the class
// normal; CONFIG GET shows the limits of replicas and subscribers, which have no effect.
//
// The zero value holds the defaults. An OutputLimits never changes and is safe for concurrent
// use.
type OutputLimits struct {
	classes *[len(outputClasses)]outputLimit // in the order of outputClasses; nil holds the defaults
}

// outputLimit is the limit of one class, with the numbers as they were given.
type outputLimit struct {
	hard, soft uint64 // bytes; zero means no limit
	seconds    int32  // how long the soft limit may be exceeded
}

// outputClasses are the classes as CONFIG GET names them, in its order.
var outputClasses = [...]string{"normal", "slave", "pubsub"}

// defaultOutputLimits are Redis', except for class normal. Redis has no limit for it, but here one
// client could then use up what all clients may hold together.
var defaultOutputLimits = [...]outputLimit{
	{hard: 256 << 20},
	{hard: 256 << 20, soft: 64 << 20, seconds: 60},
	{hard: 32 << 20, soft: 8 << 20, seconds: 60},
}

func (l OutputLimits) get() [len(outputClasses)]outputLimit {
	return *cmp.Or(l.classes, &defaultOutputLimits)
}

// String returns the limits of all classes, in Redis' form.
func (l OutputLimits) String() string {
	var words []string
	for i, limit := range l.get() {
		words = append(words, fmt.Sprintf("%s %d %d %d", outputClasses[i], limit.hard, limit.soft, limit.seconds))
	}
	return strings.Join(words, " ")
}

// The range of a hard limit that is given as a single number. A smaller one is most likely a mistake
// in the unit.
const (
	lowestOutput  = 64 << 10
	highestOutput = math.MaxInt32
)

// With returns the limits changed as text says, which is either a number of bytes from 64 KiB to
// 2 GiB, the hard limit of class normal without a soft one, or classes with their limits as
// redis.conf has them: "normal 256mb 64mb 60 pubsub 32mb 8mb 60". Classes that text does not name
// stay as they are. Numbers of bytes have Redis' units: 1k is 1000 and 1kb is 1024. The
// error says which word is wrong.
func (l OutputLimits) With(text string) (OutputLimits, error) {
	words := strings.Fields(text)
	if len(words) != 1 {
		return l.with(words)
	}
	n, ok := parseMemory(words[0])
	switch {
	case !ok:
		return l, errors.New(`not a number of bytes such as 512mb, nor a class with its limits such as "normal 256mb 64mb 60"`)
	case n < lowestOutput || n > highestOutput:
		return l, fmt.Errorf("from %d to %d", lowestOutput, highestOutput)
	}
	return l.with([]string{"normal", words[0], "0", "0"})
}

// with changes the classes that words name, each followed by its hard limit, its soft limit and
// seconds. Like Redis it checks the number of words first and then word by word. The error is an
// outputFault.
func (l OutputLimits) with(words []string) (OutputLimits, error) {
	if len(words) == 0 || len(words)%4 != 0 {
		return l, outputFault{
			redis: "Wrong number of arguments in buffer limit configuration.",
			what:  fmt.Sprintf(`%d words: a class needs four, such as "normal 256mb 64mb 60"`, len(words)),
		}
	}
	classes := l.get()
	for ; len(words) > 0; words = words[4:] {
		i := outputClass(words[0])
		if i < 0 {
			return l, outputFault{
				redis: "Invalid client class specified in buffer limit configuration.",
				what:  fmt.Sprintf("%q is none of the classes normal, replica (or slave), pubsub", words[0]),
			}
		}
		limit, err := parseOutputLimit(words[1], words[2], words[3])
		if err != nil {
			return l, outputFault{
				redis: "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
				what:  fmt.Sprintf("class %s: %v", outputClasses[i], err),
			}
		}
		classes[i] = limit
	}
	return OutputLimits{&classes}, nil
}

// outputFault says what is wrong with limits: in Redis' words, and more precisely.
type outputFault struct {
	redis settingError
	what  string
}

func (f outputFault) Error() string { return f.what }

// outputClass returns the index of a class, or -1 if there is no class of that name.
func outputClass(name string) int {
	if strings.EqualFold(name, "replica") {
		name = "slave"
	}
	for i, class := range outputClasses {
		if strings.EqualFold(class, name) {
			return i
		}
	}
	return -1
}

// parseOutputLimit reads the limit of a class. Redis reads an empty word, or a unit alone, as zero,
// and cuts off numbers that are too large; here these are errors.
func parseOutputLimit(hard, soft, seconds string) (limit outputLimit, err error) {
	for _, bytes := range []struct {
		name, word string
		to         *uint64
	}{{"hard", hard, &limit.hard}, {"soft", soft, &limit.soft}} {
		n, ok := parseMemory(bytes.word)
		if !ok {
			return limit, fmt.Errorf("the %s limit %q is not a number of bytes such as 1048576 or 512mb", bytes.name, bytes.word)
		}
		*bytes.to = n
	}
	n, err := strconv.ParseInt(strings.TrimLeft(seconds, "\t\n\v\f\r"), 10, 32) // as strtoll reads it
	if err != nil || n < 0 {
		return limit, fmt.Errorf("the soft limit's seconds %q are not a whole number from 0 to %d", seconds, math.MaxInt32)
	}
	limit.seconds = int32(n)
	return limit, nil
}

// setOutputLimits is CONFIG SET client-output-buffer-limit. As in Redis, an empty value changes
// nothing, and words are separated by exactly one blank.
func setOutputLimits(s *Settings, v []byte) error {
	if len(v) == 0 {
		return nil
	}
	limits, err := s.OutputLimits.with(strings.Split(string(v), " "))
	var fault outputFault
	if errors.As(err, &fault) {
		return fault.redis
	}
	s.OutputLimits = limits
	return err
}

// outputBounds are the limits that apply to a client of class normal.
type outputBounds struct {
	hard, soft int           // bytes; math.MaxInt if there is no limit
	softTime   time.Duration // how long the soft limit may be exceeded
}

// leastOutput is the lowest limit that is applied, because so many bytes are gathered before they are
// sent, even to a fast client.
const leastOutput = 2 * flushSize

func (l OutputLimits) bounds() outputBounds {
	applied := func(limit uint64) int {
		if limit == 0 || limit > math.MaxInt {
			return math.MaxInt
		}
		return max(int(limit), leastOutput)
	}
	normal := l.get()[0]
	return outputBounds{applied(normal.hard), applied(normal.soft), time.Duration(normal.seconds) * time.Second}
}

// sendOver sends b, the part of the waiting replies that exceeds the soft limit. It cuts a client
// that takes longer for it than the seconds of the limit, counted from now: before sending begins the
// server does not wait for the client.
func (c *conn) sendOver(b []byte) error {
	until := c.srv.keyspace.Now().Add(c.outbox.output.softTime + time.Millisecond)
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { c.cutAt(ctx, until) })
	defer watch.Wait()
	defer stop()
	return c.sendPieces(b)
}

// cutAt cuts the connection at until, unless ctx ends before that.
func (c *conn) cutAt(ctx context.Context, until ttl.Instant) {
	for {
		left := until.Sub(c.srv.keyspace.Now())
		if left <= 0 {
			break
		}
		if c.srv.keyspace.Sleep(ctx, left) != nil {
			return // the client has caught up or disconnected
		}
	}
	c.srv.log.Warn("client closed: its replies have exceeded the soft client-output-buffer-limit for too long", "client", c.id)
	c.srv.stats.outputLimit.Add(1)
	c.cut()
}
