// Package api has the shapes of the API that package cluster serves, with their constraints. Its files are generated from AWS's model;
// `make generate` writes them.
package api
