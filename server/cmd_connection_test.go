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
		{"3 AUTH u p", helloOptions{3, []helloStep{{auth: true, user: "u", password: []byte("p")}}}, nil},
		{"3 setname n auth u p", helloOptions{3, []helloStep{
			{name: "n"}, {auth: true, user: "u", password: []byte("p")},
		}}, nil},
		{"3 setname a setname _", helloOptions{3, []helloStep{{name: "a"}, {}}}, nil},
		{"3 auth setname n", helloOptions{3, []helloStep{
			{auth: true, user: "setname", password: []byte("n")},
		}}, nil},
		{"3 setname n auth u", helloOptions{3, []helloStep{{name: "n"}}}, errHelloOption([]byte("auth"))},
		{"03", helloOptions{}, errProtoNotInteger},
		{"-3", helloOptions{}, errNoProto},
		{"9223372036854775807", helloOptions{}, errNoProto},
		{"3 auth u", helloOptions{proto: 3}, errHelloOption([]byte("auth"))},
		{"3 setname", helloOptions{proto: 3}, errHelloOption([]byte("setname"))},
		{"3 setname \x01", helloOptions{proto: 3}, errClientName},
		{"3 setname " + strings.Repeat("n", maxClientText+1), helloOptions{proto: 3}, errClientText},
	}
	for _, test := range tests {
		got, err := parseHello(words(test.line))
		if !errors.Is(err, test.err) || !reflect.DeepEqual(got, test.want) {
			t.Errorf("parseHello(%q) = %+v, %v, want %+v, %v", test.line, got, err, test.want, test.err)
		}
	}
}
