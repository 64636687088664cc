package diff

import (
	"slices"
	"strconv"
	"strings"
)

// naturalRule says how the replies to a line may differ because order, time or chance has a
// part in them.
func naturalRule(args []string) Rule {
	rule := rulesOfNature(args)
	rule.listed = true
	return rule
}

func rulesOfNature(args []string) Rule {
	name := strings.ToLower(args[0])
	if slices.Contains([]string{"object", "client", "memory"}, name) && len(args) > 1 {
		name += " " + strings.ToLower(args[1])
	}
	switch name {
	case "keys":
		return Rule{kind: sorted}
	case "scan":
		if wholeScan(args) {
			return Rule{kind: sorted}
		}
		return Rule{kind: shape}
	case "ttl", "expiretime":
		return Rule{kind: approx, tolerance: toleranceSeconds}
	case "pttl", "pexpiretime":
		return Rule{kind: approx, tolerance: toleranceSeconds * 1000}
	case "randomkey", "object idletime", "client id", "client list", "client info", "info", "time", "lastsave", "dbsize":
		return Rule{kind: shape} // dbsize: Redis counts the dead, until it sweeps them
	}
	return Rule{}
}

// wholeScan reports whether a SCAN returns everything at once.
func wholeScan(args []string) bool {
	if len(args) < 2 || args[1] != "0" {
		return false
	}
	count := 0
	for i := 2; i+1 < len(args); i += 2 {
		if strings.EqualFold(args[i], "count") {
			count, _ = strconv.Atoi(args[i+1])
		}
	}
	return count >= 1000
}
