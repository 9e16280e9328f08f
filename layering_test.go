package stator

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport lists the packages of this project that a package may import. Arrows point one way: from front ends down to bytes.
// See docs/architecture.md.
var mayImport = map[string][]string{
	"internal/wirejson":           {},
	"internal/attribute":          {"wirejson"},
	"internal/awserr":             {"wirejson"},
	"internal/kv":                 {},
	"internal/kv/kvtest":          {"kv", "kv/paging"},
	"internal/cluster":            {"guard", "keyspace", "kv", "jobs", "wait"},
	"internal/guard":              {"wait"},
	"internal/stage":              {},
	"internal/kv/locks":           {"kv", "stage"},
	"internal/kv/pebblekv":        {"directio", "kv", "kv/locks", "stage", "turns"},
	"internal/kv/paging":          {},
	"internal/kv/pgkv":            {"guard", "kv", "kv/locks", "kv/paging", "jobs", "netio", "wait"},
	"internal/kv/pgkv/pgtest":     {},
	"internal/netio":              {"turns"},
	"internal/turns":              {"stage"},
	"internal/wait":               {},
	"internal/smithy":             {"access/policy", "awserr", "turns", "wirejson"},
	"internal/smithy/smithytest":  {"smithy"},
	"internal/api":                {"attribute", "awserr", "smithy", "wirejson"},
	"internal/auth":               {"access/policy", "awserr", "tenant"},
	"internal/access":             {"access/policy", "awserr", "smithy"},
	"internal/access/policy":      {"wirejson"},
	"internal/audit":              {"access/policy", "guard", "partiql", "wirejson"},
	"internal/keyspace":           {"attribute", "kv"},
	"internal/expr":               {"attribute", "smithy"},
	"internal/capacity":           {},
	"internal/certs":              {},
	"internal/certs/certstest":    {"certs"},
	"internal/throttle":           {},
	"internal/tenant":             {},
	"internal/metric":             {},
	"internal/metering":           {"attribute", "metric", "throttle"},
	"internal/directio":           {},
	"internal/sorter":             {"guard", "turns"},
	"internal/jobs":               {"guard", "wait"},
	"internal/attempts":           {},
	"internal/objectstore":        {"guard"},
	"internal/engine":             {"catalog", "keyspace", "kv", "kv/pebblekv", "kv/pgkv"},
	"internal/admin":              {"admin/verify", "catalog", "cluster", "engine", "keyspace", "kv", "wait"},
	"internal/server":             {"access", "access/policy", "attempts", "audit", "auth", "autoscaling", "awserr", "backup", "catalog", "certs", "cloudwatch", "cluster", "dax/cache", "dax/control", "dax/node", "engine", "faults", "guard", "httpd", "iam", "iam/declared", "jobs", "keyspace", "kv", "metering", "metric", "netio", "objectstore", "ops", "protocol", "registry", "smithy", "stream", "table", "tenant", "transfer", "turns"},
	"internal/admin/serverbackup": {"objectstore"},
	"internal/registry":           {"cluster", "keyspace", "kv"},
	"internal/catalog":            {"access/policy", "attempts", "attribute", "cluster", "keyspace", "kv", "metering", "registry", "throttle"},
	"internal/pitr":               {"attribute", "keyspace", "kv"},
	"internal/backup":             {"attempts", "attribute", "catalog", "guard", "jobs", "keyspace", "kv", "pitr", "table"},
	"internal/index":              {"attribute", "capacity", "catalog", "keyspace"},
	"internal/stream":             {"attribute", "catalog", "keyspace", "kv"},
	"internal/table":              {"attribute", "capacity", "catalog", "guard", "index", "keyspace", "kv", "metering", "pitr", "sorter", "stream", "throttle", "turns", "wait"},
	"internal/itemfile":           {"attribute", "wirejson"},
	"internal/transfer":           {"api", "attempts", "attribute", "catalog", "cluster", "guard", "index", "itemfile", "jobs", "keyspace", "kv", "objectstore", "pitr", "registry", "smithy", "sorter", "table", "turns", "wait"},
	"internal/partiql":            {"attribute", "expr"},
	"internal/ops":                {"access", "access/policy", "api", "attribute", "awserr", "backup", "capacity", "catalog", "expr", "faults", "index", "itemfile", "keyspace", "kv", "metering", "metric", "partiql", "pitr", "registry", "smithy", "stream", "table", "tenant", "throttle", "transfer", "wirejson"},
	"internal/cloudwatch/api":     {"smithy", "wirejson"},
	"internal/cloudwatch":         {"access", "awserr", "cloudwatch/api", "cluster", "guard", "keyspace", "kv", "metric", "protocol", "registry", "smithy", "stage", "turns"},
	"internal/autoscaling/api":    {"smithy", "wirejson"},
	"internal/autoscaling":        {"access", "autoscaling/api", "awserr", "guard", "kv", "metric", "protocol", "registry", "smithy"},
	"internal/iam/api":            {"smithy", "wirejson"},
	"internal/iam/stsapi":         {"smithy", "wirejson"},
	"internal/iam":                {"access/policy", "awserr", "iam/api", "iam/stsapi", "keyspace", "kv", "protocol", "registry", "smithy"},
	"internal/iam/declared":       {"access/policy", "auth", "iam", "wirejson"},
	"internal/dax/wire":           {"attribute", "awserr"},
	"internal/dax/cache":          {"awserr", "wirejson"},
	"internal/dax/node":           {"access", "access/policy", "api", "attribute", "auth", "awserr", "dax/cache", "dax/wire", "guard", "metric", "ops", "smithy", "turns", "wirejson"},
	"internal/dax/api":            {"smithy", "wirejson"},
	"internal/dax/control":        {"access", "awserr", "dax/api", "protocol", "registry", "smithy"},
	"internal/protocol":           {"awserr", "smithy", "wirejson"},
	"internal/httpd":              {"access", "access/policy", "audit", "auth", "awserr", "guard", "jobs", "netio", "protocol", "smithy", "tenant", "turns", "wirejson"},
	"internal/cli":                {"admin", "admin/serverbackup", "access/policy", "cli/client", "cli/hot", "cli/identities", "cli/importer", "cli/tail", "engine", "httpd", "jobs", "objectstore"},
	"internal/cli/client":         {},
	"internal/cli/hot":            {"cli/client", "wait"},
	"internal/cli/identities":     {"cli/client"},
	"internal/cli/importer":       {"attribute", "cli/client", "itemfile", "objectstore", "wait"},
	"internal/faults":             {},
	"internal/cli/tail":           {"cli/client", "wait"},
	"internal/admin/verify":       {"attribute", "catalog", "index", "keyspace", "kv", "pitr", "stream", "table"},
}

func TestLayering(t *testing.T) {
	const module = "github.com/statordb/stator/internal/"
	seen := map[string]bool{}
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		allowed, known := mayImport[pkg]
		if !known {
			if !seen[pkg] {
				t.Errorf("%s is not in the table of this test", pkg)
			}
			seen[pkg] = true
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if short, ok := strings.CutPrefix(name, module); ok && !slices.Contains(allowed, short) {
				t.Errorf("%s must not import internal/%s", path, short)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestContributingNamesPackages checks that CONTRIBUTING.md describes every package.
func TestContributingNamesPackages(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range mayImport {
		if short := strings.TrimPrefix(pkg, "internal/"); !strings.Contains(string(text), "`"+pkg+"`") && !strings.Contains(string(text), "`"+short+"`") {
			t.Errorf("%s is not in its table", pkg)
		}
	}
}

// TestSentencesHaveOneHome checks that AWS's sentences are spelled only in their homes.
func TestSentencesHaveOneHome(t *testing.T) {
	homes := map[string][]string{
		"failed to satisfy constraint":      {"internal/smithy/check.go"},
		"validation error detected":         {"internal/smithy/check.go"},
		"One or more parameter values were": {"internal/awserr/messages.go", "internal/attribute/json.go"},
	}
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for sentence, where := range homes {
			if slices.Contains(where, filepath.ToSlash(path)) {
				continue
			}
			for _, lit := range literals(file) {
				if strings.Contains(lit, sentence) {
					t.Errorf("%s spells %q", path, sentence)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func literals(file *ast.File) []string {
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			out = append(out, lit.Value)
		}
		return true
	})
	return out
}
