package server

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseHello(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want helloOptions
		err  error
	}{
		{"", helloOptions{}, nil},
		{"2", helloOptions{proto: 2}, nil},
		{"3 AUTH u p", helloOptions{proto: 3, auth: true, user: "u", password: []byte("p")}, nil},
		{"3 setname n auth u p", helloOptions{
			proto: 3, auth: true, user: "u", password: []byte("p"), named: true, name: "n",
		}, nil},
		{"3 setname a setname _", helloOptions{proto: 3, named: true}, nil},
		{"3 auth setname n", helloOptions{
			proto: 3, auth: true, user: "setname", password: []byte("n"),
		}, nil},
		{"03", helloOptions{}, errProtoNotInteger},
		{"-3", helloOptions{}, errNoProto},
		{"9223372036854775807", helloOptions{}, errNoProto},
		{"3 auth u", helloOptions{}, errHelloOption([]byte("auth"))},
		{"3 setname", helloOptions{}, errHelloOption([]byte("setname"))},
		{"3 setname \x01", helloOptions{}, errClientName},
		{"3 setname " + strings.Repeat("n", maxClientText+1), helloOptions{}, errClientText},
	}
	for _, test := range tests {
		got, err := parseHello(words(test.line))
		if !errors.Is(err, test.err) || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("parseHello(%q) = %+v, %v, want %+v, %v", test.line, got, err, test.want, test.err)
		}
	}
}
