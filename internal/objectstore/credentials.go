package objectstore

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// environment returns the SDK's configuration for opt and the environment. It finds credentials in the order of AWS's SDKs
// ("Standardized credential providers"): access keys, a web identity token, the profile of the shared files, a container's endpoint,
// the instance's role. Unlike config.LoadDefaultConfig it leaves out SSO and console logins, whose API clients make up 3 MB of a
// program.
func environment(ctx context.Context, opt S3Options) (aws.Config, error) {
	env, err := config.NewEnvConfig()
	if err != nil {
		return aws.Config{}, err
	}
	profile, err := sharedProfile(ctx, &env)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := aws.Config{
		Region: cmp.Or(opt.Region, env.Region, profile.Region, "us-east-1"),
		// The API clients read more settings from these, such as AWS_ENDPOINT_URL_S3.
		ConfigSources:    []any{env, profile},
		BaseEndpoint:     nonEmpty(cmp.Or(env.BaseEndpoint, profile.BaseEndpoint)),
		RetryMaxAttempts: cmp.Or(env.RetryMaxAttempts, profile.RetryMaxAttempts),
		RetryMode:        cmp.Or(env.RetryMode, profile.RetryMode),
	}
	if file := cmp.Or(env.CustomCABundle, profile.CustomCABundle); file != "" {
		if cfg.HTTPClient, err = trusting(file); err != nil {
			return aws.Config{}, err
		}
	}
	switch {
	case opt.AccessKey != "":
		cfg.Credentials = credentials.NewStaticCredentialsProvider(opt.AccessKey, opt.SecretKey, "")
	case env.Credentials.HasKeys():
		cfg.Credentials = credentials.StaticCredentialsProvider{Value: env.Credentials}
	case env.WebIdentityTokenFilePath != "":
		cfg.Credentials, err = webIdentity(cfg, env.WebIdentityTokenFilePath, env.RoleARN, env.RoleSessionName)
	default:
		cfg.Credentials, err = ofProfile(cfg, &env, &profile)
	}
	if err != nil {
		return aws.Config{}, err
	}
	cfg.Credentials = aws.NewCredentialsCache(cfg.Credentials)
	return cfg, nil
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// trusting returns an HTTP client that trusts the certificates of a PEM file (AWS_CA_BUNDLE), and no others.
func trusting(file string) (aws.HTTPClient, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig.RootCAs = roots
	}), nil
}

// sharedProfile reads the profile that the environment chooses. Only a profile that it names must exist.
func sharedProfile(ctx context.Context, env *config.EnvConfig) (config.SharedConfig, error) {
	profile, err := config.LoadSharedConfigProfile(ctx, cmp.Or(env.SharedConfigProfile, "default"), func(o *config.LoadSharedConfigOptions) {
		if env.SharedCredentialsFile != "" {
			o.CredentialsFiles = []string{env.SharedCredentialsFile}
		}
		if env.SharedConfigFile != "" {
			o.ConfigFiles = []string{env.SharedConfigFile}
		}
	})
	if missing := (config.SharedConfigProfileNotExistError{}); errors.As(err, &missing) && env.SharedConfigProfile == "" {
		return config.SharedConfig{}, nil
	}
	return profile, err
}

// ofProfile returns the credentials of a profile, or those of the machine if it has none.
func ofProfile(cfg aws.Config, env *config.EnvConfig, profile *config.SharedConfig) (found aws.CredentialsProvider, err error) {
	switch {
	case profile.Source != nil:
		found, err = ofProfile(cfg, env, profile.Source)
	case profile.Credentials.HasKeys():
		found = credentials.StaticCredentialsProvider{Value: profile.Credentials}
	case profile.CredentialSource != "":
		found, err = ofSource(cfg, env, profile.CredentialSource)
	case profile.WebIdentityTokenFile != "":
		return webIdentity(cfg, profile.WebIdentityTokenFile, profile.RoleARN, profile.RoleSessionName)
	case profile.SSOSessionName != "" || profile.SSOStartURL != "" || profile.LoginSession != "":
		return nil, fmt.Errorf("profile %s signs in by SSO or console login, which Stator does not support: use access keys, a role, a web identity or a credential_process", profile.Profile)
	case profile.CredentialProcess != "":
		found = processcreds.NewProvider(profile.CredentialProcess)
	default:
		found, err = ofMachine(cfg, env)
	}
	if err != nil || profile.RoleARN == "" {
		return found, err
	}
	if profile.MFASerial != "" {
		return nil, fmt.Errorf("profile %s needs a multi-factor token (mfa_serial), for which a server can't ask", profile.Profile)
	}
	cfg.Credentials = aws.NewCredentialsCache(found)
	return stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), profile.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = profile.RoleSessionName
		if profile.ExternalID != "" {
			o.ExternalID = aws.String(profile.ExternalID)
		}
		if profile.RoleDurationSeconds != nil {
			o.Duration = *profile.RoleDurationSeconds
		}
	}), nil
}

// ofSource returns the credentials that a profile's credential_source names.
func ofSource(cfg aws.Config, env *config.EnvConfig, source string) (aws.CredentialsProvider, error) {
	switch source {
	case "Environment":
		return credentials.StaticCredentialsProvider{Value: env.Credentials}, nil
	case "Ec2InstanceMetadata":
		return ofInstance(cfg), nil
	case "EcsContainer":
		return ofMachine(cfg, env)
	}
	return nil, fmt.Errorf("credential_source %s: must be Environment, Ec2InstanceMetadata or EcsContainer", source)
}

// ofMachine returns the credentials that the container's or the instance's role has.
func ofMachine(cfg aws.Config, env *config.EnvConfig) (aws.CredentialsProvider, error) {
	endpoint := env.ContainerCredentialsEndpoint
	switch {
	case env.ContainerCredentialsRelativePath != "":
		endpoint = "http://169.254.170.2" + env.ContainerCredentialsRelativePath
	case endpoint == "":
		return ofInstance(cfg), nil
	default:
		if err := checkContainerEndpoint(endpoint); err != nil {
			return nil, err
		}
	}
	return endpointcreds.New(endpoint, func(o *endpointcreds.Options) {
		o.AuthorizationToken = env.ContainerAuthorizationToken
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				token, err := os.ReadFile(file)
				return string(token), err
			})
		}
	}), nil
}

func ofInstance(cfg aws.Config) aws.CredentialsProvider {
	return ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.NewFromConfig(cfg) })
}

// checkContainerEndpoint refuses endpoints to which a token must not be sent without TLS: all but loopback and the addresses of ECS
// and EKS ("Container credential provider").
func checkContainerEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "https" {
		return err
	}
	ip := net.ParseIP(u.Hostname())
	if u.Hostname() == "localhost" || ip.IsLoopback() || ip.Equal(net.IPv4(169, 254, 170, 2)) || ip.Equal(net.IPv4(169, 254, 170, 23)) || ip.Equal(net.ParseIP("fd00:ec2::23")) {
		return nil
	}
	return fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI %s: must be https, or a loopback, ECS or EKS address", endpoint)
}

// webIdentity returns the credentials of a role that a token assumes, as Kubernetes mounts one.
func webIdentity(cfg aws.Config, tokenFile, role, session string) (aws.CredentialsProvider, error) {
	if role == "" {
		return nil, errors.New("a web identity token needs a role (AWS_ROLE_ARN)")
	}
	return stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(cfg), role, stscreds.IdentityTokenFile(tokenFile),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = session }), nil
}
