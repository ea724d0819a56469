// Package health answers the liveness probe from what the loops report.
package health

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Check fails when loops stopped, or when none succeeded for too long.
type Check struct {
	inactivity, failing time.Duration
	now                 func() time.Time

	mutex                 sync.Mutex
	monitoring            bool
	activity, lastSuccess time.Time
}

// New returns a check that holds as long as nothing is monitored: a pod that waits for its lease is well.
func New(inactivity, failing time.Duration) *Check {
	return &Check{inactivity: inactivity, failing: failing, now: time.Now}
}

// Start begins to watch.
func (c *Check) Start() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.monitoring = true
	c.activity, c.lastSuccess = c.now(), c.now()
}

// Report takes in the outcome of a loop.
func (c *Check) Report(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.activity = c.now()
	if err == nil {
		c.lastSuccess = c.activity
	}
}

func (c *Check) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	now := c.now()
	switch {
	case !c.monitoring:
	case now.Sub(c.activity) > c.inactivity:
		http.Error(response, fmt.Sprintf("Error: last activity more than %s ago", now.Sub(c.activity)), http.StatusInternalServerError)
		return
	case now.Sub(c.lastSuccess) > c.failing:
		http.Error(response, fmt.Sprintf("Error: last successful activity more than %s ago", now.Sub(c.lastSuccess)), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(response, "OK")
}
