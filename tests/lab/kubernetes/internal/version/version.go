// Package version says which k3s this binary stands in for; the build sets both values.
package version

// Version is the release that is stood in for.
var Version = "v1.34.4+k3s1"

// Commit is the source revision this binary was built from.
var Commit = "00000000"
