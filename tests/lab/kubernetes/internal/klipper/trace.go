package klipper

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// tracer writes what bash writes under `set -x`: each command after a plus sign, one more in a subshell.
type tracer struct {
	out   io.Writer
	depth int
}

// command traces a command of words.
func (t tracer) command(words ...string) {
	quoted := make([]string, 0, len(words))
	for _, word := range words {
		quoted = append(quoted, quote(word))
	}
	t.line(strings.Join(quoted, " "))
}

// assign traces `NAME=value`.
func (t tracer) assign(name, value string) {
	if value != "" {
		value = quote(value)
	}
	t.line(name + "=" + value)
}

// line traces text that is written as bash shows it.
func (t tracer) line(text string) {
	fmt.Fprintln(t.out, strings.Repeat("+", t.depth+1)+" "+text)
}

// sub traces commands of a subshell.
func (t tracer) sub() tracer {
	return tracer{out: t.out, depth: t.depth + 1}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,^-]+$`)

// quote is a word as bash shows it.
func quote(word string) string {
	if plain.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// pattern is the right side of `==` in `[[ ]]`, where bash shows each character of a literal escaped.
func pattern(literal string) string {
	var escaped strings.Builder
	for _, character := range literal {
		escaped.WriteRune('\\')
		escaped.WriteRune(character)
	}
	return escaped.String()
}

// test traces `[[ left operator right ]]`; the right side is a literal for `==`, `=` and `!=`.
func (t tracer) test(left, operator, right string) {
	if slices.Contains([]string{"==", "=", "!="}, operator) {
		right = pattern(right)
	}
	t.line("[[ " + quote(left) + " " + operator + " " + right + " ]]")
}

// testOne traces `[[ operator value ]]`.
func (t tracer) testOne(operator, value string) {
	t.line("[[ " + operator + " " + quote(value) + " ]]")
}
