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

// OutputLimits bound the replies that wait for one client, as client-output-buffer-limit of
// redis.conf does. Each class of clients has a hard limit in bytes, which closes a client at
// once, and a soft limit in bytes with seconds, which closes a client whose replies stay over it
// for more than these seconds. Zero bytes are no limit. All clients of sessiond are of the class
// normal; the limits of replicas and subscribers are kept for CONFIG GET and apply to nobody.
//
// The zero value holds the defaults. An OutputLimits never changes and is safe for concurrent
// use.
type OutputLimits struct {
	classes *[len(outputClasses)]outputLimit // in the order of outputClasses; nil holds the defaults
}

// outputLimit is the limit of one class, in the numbers that were given.
type outputLimit struct {
	hard, soft uint64 // bytes; zero is no limit
	seconds    int32  // that the soft limit may be exceeded
}

// outputClasses are the classes as CONFIG GET names them, in its order.
var outputClasses = [...]string{"normal", "slave", "pubsub"}

// defaultOutputLimits are Redis', but for normal, which has no limit there: here one client could
// then use up what all clients may hold together.
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

// The limits that a number alone may set: a smaller one is a mistake, most often in the unit.
const (
	lowestOutput  = 64 << 10
	highestOutput = math.MaxInt32
)

// With returns the limits changed as text says, which is either a number of bytes from 64 KiB to
// 2 GiB, the hard limit of class normal without a soft one, or classes with their limits as
// redis.conf has them: "normal 256mb 64mb 60 pubsub 32mb 8mb 60". Classes that text does not name
// stay as they are. Numbers of bytes have Redis' units: 1k is 1000 and 1kb is 1024. An error tells
// which word is wrong.
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

// with changes the classes that words name, each with its hard limit, its soft one and seconds.
// Like Redis it finds the number of words wrong first, and then the first word that is. The error
// is an outputFault.
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

// outputFault is what is wrong with limits: in Redis' words, and in those that name it.
type outputFault struct {
	redis settingError
	what  string
}

func (f outputFault) Error() string { return f.what }

// outputClass returns the index of a class, -1 if there is none of that name.
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

// parseOutputLimit is stricter than Redis where Redis takes a word for another number than it
// says: nothing, or a unit alone, for zero, and a number that is too large for what is left of it.
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

// setOutputLimits is CONFIG SET client-output-buffer-limit. Like Redis it takes no class at all
// for no change, and one blank between words.
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

// outputBounds are the limits of a client of class normal, as they are applied.
type outputBounds struct {
	hard, soft int           // bytes; math.MaxInt if there is no limit
	softTime   time.Duration // that the soft limit may be exceeded
}

// leastOutput is the lowest limit that is applied: so much is gathered before it is sent, however
// fast the client takes it.
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

// sendOver sends b, which is as much as the replies that wait are over the soft limit, and cuts a
// client that has not taken it after more than the seconds of the limit. They begin when sending
// begins: before that nobody waits for the client.
func (c *conn) sendOver(b []byte) error {
	until := c.srv.keyspace.Now().Add(c.outbox.output.softTime + time.Millisecond)
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { c.cutAt(ctx, until) })
	defer watch.Wait()
	defer stop()
	return c.sendPieces(b)
}

// cutAt cuts the connection when until has come, unless ctx ends before that.
func (c *conn) cutAt(ctx context.Context, until ttl.Instant) {
	for {
		left := until.Sub(c.srv.keyspace.Now())
		if left <= 0 {
			break
		}
		if c.srv.keyspace.Sleep(ctx, left) != nil {
			return // the client has caught up, or is gone
		}
	}
	c.srv.log.Warn("client closed: its replies have exceeded the soft client-output-buffer-limit for too long", "client", c.id)
	c.srv.stats.outputLimit.Add(1)
	c.cut()
}
