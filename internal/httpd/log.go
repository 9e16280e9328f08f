package httpd

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/valyala/fasthttp"
)

// fasthttpLogger logs at debug level what fasthttp reports of broken connections; none of it is the server's fault.
type fasthttpLogger struct{ log *slog.Logger }

// Printf implements fasthttp.Logger. fasthttp's errors quote the client's bytes, which may hold a signature, so only the kind of
// an error is logged, never its text.
func (l fasthttpLogger) Printf(format string, args ...any) {
	told := make([]any, 0, len(args))
	for _, a := range args {
		switch a := a.(type) {
		case error:
			told = append(told, kindOf(a))
		case net.Addr:
			told = append(told, a.String())
		case int, int64, uint64:
			told = append(told, a)
		default:
			told = append(told, fmt.Sprintf("%T", a))
		}
	}
	l.log.Debug(strings.TrimSpace(format), "args", told, "component", "http")
}

// kindOf classifies a connection's error without quoting the client.
func kindOf(err error) string {
	var network net.Error
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		return "the headers are too long"
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return "the body is too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "the connection has ended"
	case errors.As(err, &network) && network.Timeout():
		return "the client is too slow"
	case errors.As(err, &network):
		return "the connection has broken"
	}
	return fmt.Sprintf("the request can't be read (%T)", err)
}
