package diff

import "strconv"

const databases = 16

// compareContents compares every key of every database. SCAN finds them and makes Redis
// drop the dead ones, so that DBSIZE must agree, too.
func (p *Pair) compareContents() (*Difference, error) {
	s, err := p.dial()
	if err != nil {
		return nil, err
	}
	defer s.close()
	var lists, keys []Line
	for db := range databases {
		lists = append(lists, command("SELECT", strconv.Itoa(db)), command("SCAN", "0", "COUNT", "100000"), command("DBSIZE"))
	}
	oracle, subject := s.ask(words(lists)...)
	for i, l := range lists {
		rule := Rule{kind: sorted}
		if !rule.equal(oracle[i], subject[i]) {
			database := append([]string(nil), lists[i-i%3].Args...)
			return &Difference{Line: command(append(database, l.Args...)...), Rule: rule, Oracle: oracle[i], Subject: subject[i]}, nil
		}
		page, _ := parse(oracle[i])
		if page.kind != '*' || len(page.elems) != 2 || len(page.elems[1].elems) == 0 {
			continue
		}
		keys = append(keys, lists[i-i%3])
		for _, k := range page.elems[1].elems {
			keys = append(keys, command("GET", k.text), command("PTTL", k.text), command("TYPE", k.text))
		}
	}
	return p.send(s, keys), nil
}

func command(args ...string) Line { return Line{Conn: 1, Args: args} }

func words(lines []Line) [][]string {
	args := make([][]string, len(lines))
	for i, l := range lines {
		args[i] = l.Args
	}
	return args
}
