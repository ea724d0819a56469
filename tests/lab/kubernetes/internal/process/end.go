package process

// Shutdown is a reason to end in order: it is logged as an error, and the process ends with 0, as the original does.
type Shutdown struct{ Cause error }

func (s *Shutdown) Error() string { return s.Cause.Error() }

// Unwrap is the reason itself.
func (s *Shutdown) Unwrap() error { return s.Cause }

// Fatal is a reason to end at once, whatever was about to be done; its text is the whole of the last line.
type Fatal struct{ Text string }

func (f *Fatal) Error() string { return f.Text }
