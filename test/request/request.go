// Package request sends requests as an SDK does.
package request

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Sign signs a request with the SDK's signer, for a service in us-east-1.
func Sign(req *http.Request, body []byte, accessKey, secret, service string) error {
	hash := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secret}
	return v4.NewSigner().SignHTTP(req.Context(), key, req, hex.EncodeToString(hash[:]), service, "us-east-1", time.Now())
}

// Send sends a request with additional headers to an endpoint, and returns the answer. Only a server without credentials accepts its
// signature. An error means that the server sent no answer. operation is one
// of DynamoDB's, or another service's with its target, e.g. DynamoDBStreams_20120810.GetRecords.
func Send(endpoint, operation string, body []byte, header map[string]string) (status int, answer []byte, err error) {
	req, err := http.NewRequest("POST", endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	if !strings.Contains(operation, ".") {
		operation = "DynamoDB_20120810." + operation
	}
	req.Header.Set("X-Amz-Target", operation)
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}
