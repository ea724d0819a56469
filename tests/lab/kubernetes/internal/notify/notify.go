// Package notify tells systemd how this service is doing.
package notify

import (
	"net"
	"os"
)

// Ready says that the service is up.
func Ready() error { return send("READY=1\n") }

func send(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	connection, err := net.Dial("unixgram", path)
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = connection.Write([]byte(state))
	return err
}
