package server

import (
	"errors"

	"slicer-k3s.lab/kubernetes/internal/config"
)

// rotate takes a new server token into use: at once on this server, on the others once they are restarted with it.
func rotate(s *config.Server, p *passwords, fresh string) error {
	value, err := password(fresh, "")
	if err != nil {
		return err
	}
	p.mutex.Lock()
	if value == p.server {
		p.mutex.Unlock()
		return errors.New("the new token is the old one")
	}
	if p.agent == p.server {
		p.agent = value
	}
	p.server = value
	p.mutex.Unlock()
	return p.write(s)
}
