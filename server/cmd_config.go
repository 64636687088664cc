package server

import (
	"bytes"
	"errors"

	"github.com/sessiond/sessiond/server/glob"
)

// lookupParameter finds a name in any case; nil if there is none.
func (s *settings) lookupParameter(name []byte) *parameter {
	for i := range s.known {
		if bytes.EqualFold(name, []byte(s.known[i].name)) {
			return &s.known[i]
		}
	}
	return nil
}

// runConfigGet follows Redis: it repeats a name without wildcards as the client spelled it, uses our
// spelling for the others, and lists no parameter twice.
func runConfigGet(c *call) error {
	settings := c.srv.settings
	spelled := map[string]string{} // by name
	for _, pattern := range c.args[2:] {
		if !bytes.ContainsAny(pattern, "*?[") {
			if p := settings.lookupParameter(pattern); p != nil && spelled[p.name] == "" {
				spelled[p.name] = string(pattern)
			}
			continue
		}
		pattern = bytes.ToLower(pattern)
		for _, p := range settings.known {
			if spelled[p.name] == "" && glob.Match(pattern, []byte(p.name)) {
				spelled[p.name] = p.name
			}
		}
	}
	now := settings.get()
	c.out.Map(len(spelled))
	for _, p := range settings.known {
		if name := spelled[p.name]; name != "" {
			c.out.BulkString(name)
			c.out.BulkString(p.get(now))
		}
	}
	return nil
}

// setting is one pair of CONFIG SET.
type setting struct {
	parameter *parameter
	value     []byte
}

// parseConfigSet checks the names from left to right, before any value.
func parseConfigSet(known *settings, args [][]byte) ([]setting, error) {
	if len(args)%2 != 0 {
		return nil, errSyntax
	}
	var list []setting
	given := map[*parameter]bool{}
	for ; len(args) > 0; args = args[2:] {
		p := known.lookupParameter(args[0])
		switch {
		case p == nil:
			return nil, errUnknownSetting(args[0])
		case p.refusal != "":
			return nil, errSetting(args[0], settingError(p.refusal))
		case given[p]:
			return nil, errSetting(args[0], "duplicate parameter")
		}
		given[p] = true
		list = append(list, setting{p, args[1]})
	}
	return list, nil
}

// runConfigSet sets all pairs or none. Only one CONFIG SET runs at a time, so the values that are
// applied last are those that were set last.
func runConfigSet(c *call) error {
	settings := c.srv.settings
	list, err := parseConfigSet(settings, c.args[2:])
	if err != nil {
		return err
	}
	settings.turn.Lock()
	defer settings.turn.Unlock()
	before := settings.get()
	if err := settings.change(func(next *Settings) error { return c.assign(list, next) }); err != nil {
		return err
	}
	now := settings.get()
	for _, item := range list {
		if item.parameter.apply != nil {
			item.parameter.apply(c, item.value)
		}
		if value := item.parameter.get(now); value != item.parameter.get(before) {
			c.srv.log.Info("a client changed a setting", "client", c.id, "name", item.parameter.name, "value", value)
		}
	}
	c.out.OK()
	return nil
}

// assign writes the values of the list into next. Like Redis, it first parses all values and only
// then checks whether the server can work with them.
func (c *call) assign(list []setting, next *Settings) error {
	now := *next
	refuse := func(p *parameter, err error) error {
		var why settingError
		if errors.As(err, &why) {
			return errSetting([]byte(p.name), why)
		}
		return err
	}
	for _, item := range list {
		if err := item.parameter.assign(next, item.value); err != nil {
			return refuse(item.parameter, err)
		}
	}
	for _, item := range list {
		if item.parameter.fits == nil {
			continue
		}
		if err := item.parameter.fits(c.srv, now, *next); err != nil {
			return refuse(item.parameter, err)
		}
	}
	return nil
}

func runConfigResetStat(c *call) error {
	c.tally = tally{}
	c.srv.stats.reset(c.srv.keyspace.Now(), c.srv.keyspace.Expired())
	c.out.OK()
	return nil
}

// runConfigRewrite always fails: the configuration file belongs to the operator.
func runConfigRewrite(c *call) error {
	if c.srv.settings.get().ConfigFile == "" {
		return errNoConfigFile
	}
	return errRewrite
}
