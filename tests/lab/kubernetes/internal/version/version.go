// Package version says which k3s this binary stands in for; the build sets the release.
package version

// Version is the release that is stood in for.
var Version = "v1.34.4+k3s1"

// Commit stands where the original prints the revision it was built from; fixed, so that builds can be repeated.
const Commit = "00000000"
