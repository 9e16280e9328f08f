// Package client sends requests of Stator's own commands to a server, over DynamoDB's public protocol.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Server is an endpoint, with the credentials for requests to it.
type Server struct {
	Endpoint             string // e.g. http://127.0.0.1:8000
	Region               string
	AccessKey, SecretKey string
	SessionToken         string // of temporary keys; empty for others
}

// Error is an error returned by the server.
type Error struct {
	Status        int
	Kind, Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Kind + ": " + e.Message }

// Call sends a request to DynamoDB and decodes the answer into out. target is the value of X-Amz-Target.
func (s *Server) Call(ctx context.Context, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	status, answer, err := s.send(ctx, "dynamodb", body, map[string]string{"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target})
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return json.Unmarshal(answer, out)
	}
	var e struct {
		Type    string `json:"__type"`
		Message string
	}
	if err := json.Unmarshal(answer, &e); err != nil {
		return unreadable(status, answer)
	}
	// The type is namespace#name, or the name alone.
	_, kind, ok := strings.Cut(e.Type, "#")
	if !ok {
		kind = e.Type
	}
	return &Error{Status: status, Kind: kind, Message: e.Message}
}

// send sends a signed request and returns the answer.
func (s *Server) send(ctx context.Context, service string, body []byte, headers map[string]string) (status int, answer []byte, err error) {
	at, err := url.Parse(s.Endpoint)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", at.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Accept-Encoding", "identity") // large errors can't be read otherwise: httpd announces an encoding, as AWS does
	hash := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, SessionToken: s.SessionToken}
	if err := v4.NewSigner().SignHTTP(ctx, key, req, hex.EncodeToString(hash[:]), service, s.Region, time.Now()); err != nil {
		return 0, nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

func unreadable(status int, answer []byte) error { return fmt.Errorf("status %d: %q", status, answer) }
