package supervisor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/http"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/client-go/kubernetes/scheme"
)

var (
	errAPINotReady  = errors.New("apiserver not ready")
	errCoreNotReady = errors.New("runtime core not ready")
	errMethod       = errors.New("method not allowed")
	errNoEtcd       = errors.New("etcd datastore disabled")
)

// refuse answers with a Kubernetes Status, as the API server itself would: in JSON, over several lines for people.
func refuse(w http.ResponseWriter, r *http.Request, code int, reason error) {
	if !errors.Is(reason, errAPINotReady) {
		logrus.Errorf("Sending %s %d response to %s: %v", r.Proto, code, r.RemoteAddr, reason)
	}
	w.Header().Add("Connection", "close")
	responsewriters.ErrorNegotiated(status(r, code, reason), scheme.Codecs.WithoutConversion(), schema.GroupVersion{}, w, r)
}

// refuseQuietly answers with a number only, under which the log has the reason.
func refuseQuietly(w http.ResponseWriter, r *http.Request, component string, reason error) {
	id, err := rand.Int(rand.Reader, big.NewInt(99999))
	if err != nil {
		id = new(big.Int)
	}
	logrus.Errorf("%s error ID %05d: %v", component, id, reason)
	refuse(w, r, http.StatusInternalServerError, fmt.Errorf("%s error ID %05d", component, id))
}

func status(r *http.Request, code int, reason error) *apierrors.StatusError {
	switch code {
	case http.StatusBadRequest:
		return apierrors.NewBadRequest(reason.Error())
	case http.StatusUnauthorized:
		return apierrors.NewUnauthorized(reason.Error())
	case http.StatusForbidden:
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: reason.Error(),
		}}
	case http.StatusInternalServerError:
		return apierrors.NewInternalError(reason)
	case http.StatusServiceUnavailable:
		return apierrors.NewServiceUnavailable(reason.Error())
	}
	return apierrors.NewGenericServerResponse(code, r.Method, schema.GroupResource{}, r.URL.Path, reason.Error(), 0, true)
}
