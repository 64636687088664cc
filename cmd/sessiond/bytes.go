package main

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sessiond/sessiond"
)

// byteSize is a flag for a number of bytes, with the units of redis.conf: 1k is 1000 and
// 1kb is 1024, likewise m, mb, g and gb, in upper or lower case.
type byteSize[T int | int64] struct{ to *T }

func bytesFlag[T int | int64](set *pflag.FlagSet, to *T, name string, value T, usage string) {
	*to = value
	set.Var(byteSize[T]{to}, name, usage)
}

// Type implements pflag.Value. The help shows the name that the usage quotes.
func (byteSize[T]) Type() string { return "bytes" }

// String implements pflag.Value: in the largest unit that divides the number.
func (b byteSize[T]) String() string {
	if b.to == nil {
		return ""
	}
	n := int64(*b.to)
	for _, unit := range byteUnits {
		if unit.binary && n != 0 && n%unit.size == 0 {
			return strconv.FormatInt(n/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Set implements pflag.Value.
func (b byteSize[T]) Set(text string) error {
	n, err := parseBytes(text)
	if err != nil {
		return err
	}
	if int64(T(n)) != n {
		return errBytes
	}
	*b.to = T(n)
	return nil
}

var byteUnits = []struct {
	name   string
	size   int64
	binary bool
}{
	{"gb", 1 << 30, true},
	{"mb", 1 << 20, true},
	{"kb", 1 << 10, true},
	{"g", 1e9, false},
	{"m", 1e6, false},
	{"k", 1e3, false},
	{"b", 1, false},
}

var errBytes = errors.New(`not a number of bytes such as 1048576, 512mb or 10gb`)

func parseBytes(text string) (int64, error) {
	size := int64(1)
	digits := strings.ToLower(text)
	for _, unit := range byteUnits {
		if rest, ok := strings.CutSuffix(digits, unit.name); ok {
			digits, size = rest, unit.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > math.MaxInt64/size || n < math.MinInt64/size {
		return 0, errBytes
	}
	return n * size, nil
}

// outputLimits is the flag for the replies that may wait for clients. Like the line of redis.conf
// it can be repeated, and names some of the classes.
type outputLimits struct {
	to    *sessiond.OutputLimits
	typed string // the latest value
}

// Type implements pflag.Value.
func (*outputLimits) Type() string { return "outputLimits" }

// String implements pflag.Value.
func (l *outputLimits) String() string { return l.typed }

// Set implements pflag.Value.
func (l *outputLimits) Set(text string) error {
	limits, err := l.to.With(text)
	if err == nil {
		*l.to, l.typed = limits, text
	}
	return err
}
