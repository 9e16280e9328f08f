package objectstore

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// issuer serves credentials like a container's endpoint, an instance's metadata service, and STS.
func issuer(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		const expires = "2199-01-01T00:00:00Z"
		action := r.Form.Get("Action")
		switch {
		case action != "":
			key := action + "-" + r.Form.Get("RoleArn") + "-" + r.Form.Get("WebIdentityToken") + r.Form.Get("ExternalId")
			fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%[3]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`, action, key, expires)
		case strings.HasPrefix(r.URL.Path, "/container"):
			fmt.Fprintf(w, `{"AccessKeyId":"container-%s","SecretAccessKey":"s","Token":"t","Expiration":"%s"}`, r.Header.Get("Authorization"), expires)
		case r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "100")
			fmt.Fprint(w, "token")
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
			fmt.Fprint(w, "role")
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/role":
			fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"instance","SecretAccessKey":"s","Token":"t","Expiration":"%s"}`, expires)
		default:
			w.WriteHeader(404)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const profiles = `
[default]
region = eu-west-1
aws_access_key_id = of-default
aws_secret_access_key = s
[profile process]
credential_process = echo '{"Version":1,"AccessKeyId":"process","SecretAccessKey":"s"}'
[profile role]
role_arn = arn:aws:iam::1:role/r
source_profile = default
external_id = x
[profile environment]
role_arn = arn:aws:iam::1:role/e
credential_source = Environment
[profile web]
role_arn = arn:aws:iam::1:role/w
web_identity_token_file = TOKEN
[profile sso]
sso_start_url = https://example.com/start
sso_region = eu-west-1
sso_account_id = 1
sso_role_name = r
[profile mfa]
role_arn = arn:aws:iam::1:role/m
source_profile = default
mfa_serial = arn:aws:iam::1:mfa/m
`

// TestEnvironment compares the credentials and the region with those that the SDK's LoadDefaultConfig finds.
func TestEnvironment(t *testing.T) {
	url := issuer(t)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	files := map[string]string{token: "jwt", filepath.Join(dir, "config"): strings.ReplaceAll(profiles, "TOKEN", token), filepath.Join(dir, "empty"): ""}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("AWS_ENDPOINT_URL_STS", url)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "empty"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	none := []string{"AWS_CONFIG_FILE", filepath.Join(dir, "empty")}
	for name, c := range map[string]struct {
		env  []string
		want string // access key, or an error's text where the SDK finds another
	}{
		"keys":            {env: []string{"AWS_ACCESS_KEY_ID", "env", "AWS_SECRET_ACCESS_KEY", "s", "AWS_SESSION_TOKEN", "t", "AWS_REGION", "us-west-2"}},
		"default profile": {},
		"nothing":         {env: none},
		"web identity":    {env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", token, "AWS_ROLE_ARN", "arn:aws:iam::1:role/k"}},
		"no role":         {env: []string{"AWS_WEB_IDENTITY_TOKEN_FILE", token}},
		"container":       {env: append([]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", url + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "a"}, none...)},
		"container file":  {env: append([]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", url + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token}, none...)},
		"far container":   {env: append([]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/"}, none...)},
		"process":         {env: []string{"AWS_PROFILE", "process"}},
		"role":            {env: []string{"AWS_PROFILE", "role"}},
		"role by keys":    {env: []string{"AWS_PROFILE", "environment"}},
		"profile's token": {env: []string{"AWS_PROFILE", "web"}},
		"no such profile": {env: []string{"AWS_PROFILE", "none"}},
		"sso":             {env: []string{"AWS_PROFILE", "sso"}, want: "Stator does not support"},
		"mfa":             {env: []string{"AWS_PROFILE", "mfa"}},
	} {
		t.Run(name, func(t *testing.T) {
			for i := 0; i < len(c.env); i += 2 {
				t.Setenv(c.env[i], c.env[i+1])
			}
			ctx := context.Background()
			got := describe(environment(ctx, S3Options{}))
			if c.want != "" {
				if !strings.Contains(got, c.want) {
					t.Errorf("got %s, want %s", got, c.want)
				}
				return
			}
			want := describe(config.LoadDefaultConfig(ctx))
			if strings.HasPrefix(want, "error") != strings.HasPrefix(got, "error") || !strings.HasPrefix(want, "error") && got != want {
				t.Errorf("got %s, want as the SDK %s", got, want)
			}
		})
	}
}

// describe returns the credentials and the region of a configuration, or its error.
func describe(cfg aws.Config, err error) string {
	if err == nil {
		var c aws.Credentials
		if c, err = cfg.Credentials.Retrieve(context.Background()); err == nil {
			if cfg.Region == "" { // the SDK has no default
				cfg.Region = "us-east-1"
			}
			return fmt.Sprintf("%s %s %s in %s", c.AccessKeyID, c.SecretAccessKey, c.SessionToken, cfg.Region)
		}
	}
	return "error: " + err.Error()
}

// TestCABundle checks that AWS_CA_BUNDLE makes the store trust a private authority.
func TestCABundle(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `<ListBucketResult><Name>b</Name></ListBucketResult>`)
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	list := func() error {
		store, err := NewS3(context.Background(), S3Options{Endpoint: s.URL, Region: "us-east-1", AccessKey: "a", SecretKey: "s"})
		if err != nil {
			return err
		}
		return store.List(context.Background(), "b", "", func(Object) error { return nil })
	}
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	if err := list(); err == nil {
		t.Error("without the bundle the certificate is trusted")
	}
	t.Setenv("AWS_CA_BUNDLE", file)
	if err := list(); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "none"))
	if err := list(); err == nil {
		t.Error("a missing bundle is ignored")
	}
}
