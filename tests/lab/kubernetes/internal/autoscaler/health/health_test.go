package health

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"
)

// A pod that waits for its lease must not be restarted; one whose loops fail or hang must be.
func TestWhenTheProbeFails(t *testing.T) {
	now := time.Now()
	check := New(10*time.Minute, 15*time.Minute)
	check.now = func() time.Time { return now }
	code := func() int {
		recorder := httptest.NewRecorder()
		check.ServeHTTP(recorder, nil)
		return recorder.Code
	}
	now = now.Add(time.Hour)
	if code() != 200 {
		t.Error("failed while waiting for the lease")
	}
	check.Start()
	for range 3 {
		now = now.Add(5 * time.Minute)
		check.Report(errors.New("down"))
		if code() != 200 {
			t.Error("failed too early")
		}
	}
	now = now.Add(time.Second)
	if code() != 500 {
		t.Error("loops fail for more than 15 minutes unnoticed")
	}
	check.Report(nil)
	if code() != 200 {
		t.Error("a success did not help")
	}
	now = now.Add(10*time.Minute + time.Second)
	if code() != 500 {
		t.Error("loops hang for more than 10 minutes unnoticed")
	}
}
