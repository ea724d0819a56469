package core

import (
	"time"

	"slicer-k3s.lab/kubernetes/internal/autoscaler/options"
)

type pause struct {
	until, last   time.Time
	duration      time.Duration
	code, message string
}

// backoff keeps groups whose scale-up failed out of the choice, each time for longer.
type backoff struct {
	initial, longest, reset time.Duration
	pauses                  map[string]pause
}

func newBackoff(o *options.Options) *backoff {
	return &backoff{initial: o.InitialBackoff, longest: o.MaxBackoff, reset: o.BackoffReset, pauses: map[string]pause{}}
}

func (b *backoff) register(name, code, message string, now time.Time) time.Time {
	before, known := b.pauses[name]
	next := pause{duration: b.initial, last: now, code: code, message: message}
	if known && now.Sub(before.last) < b.reset {
		next.duration = before.duration
		if before.until.Before(now) {
			next.duration = min(before.duration*2, b.longest)
		}
	}
	next.until = now.Add(next.duration)
	b.pauses[name] = next
	return next.until
}

func (b *backoff) active(name string, now time.Time) bool {
	return now.Before(b.pauses[name].until)
}
