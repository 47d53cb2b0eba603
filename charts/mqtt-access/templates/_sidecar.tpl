{{/*
The sidecar of a broker's pod: an init container that keeps running, whose startup probe holds the broker back until the first
list of bundles is complete. Its token is its own: the broker need not have one. Call with a dict of `root` and `broker`.
*/}}
{{- define "mqtt-access.sidecarContainer" -}}
name: mqtt-access-sidecar
restartPolicy: Always
image: {{ include "mqtt-access.image" (dict "root" .root "image" .root.Values.sidecar.image) | quote }}
imagePullPolicy: {{ .root.Values.sidecar.image.pullPolicy }}
args:
  - run
  - --source=kubernetes
  - --namespace={{ .broker.bundleNamespace }}
  - --state-dir=/run/mqtt-access
  - --http=127.0.0.1:8080
  - --admin=0.0.0.0:9090
ports:
  - name: mqtt-access
    containerPort: 9090
startupProbe:
  httpGet:
    path: /readyz
    port: 9090
  periodSeconds: 1
  failureThreshold: 300
readinessProbe:
  httpGet:
    path: /readyz
    port: 9090
livenessProbe:
  httpGet:
    path: /livez
    port: 9090
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
resources:
  {{- toYaml .root.Values.injection.resources | nindent 2 }}
{{- with .root.Values.injection.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: mqtt-access-state
    mountPath: /run/mqtt-access
  - name: mqtt-access-token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
{{- end -}}

{{/* The volumes of that container. */}}
{{- define "mqtt-access.sidecarVolumes" -}}
- name: mqtt-access-state
  emptyDir:
    medium: Memory
    sizeLimit: {{ .root.Values.injection.stateSizeLimit }}
- name: mqtt-access-token
  projected:
    defaultMode: 420
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                apiVersion: v1
                fieldPath: metadata.namespace
{{- end -}}

{{/* A value as CEL writes it. Aggregates of CEL hold one type, hence `dyn`. */}}
{{- define "mqtt-access.cel" -}}
{{- if kindIs "map" . -}}
{ {{- range $place, $key := keys . | sortAlpha }}{{ if $place }}, {{ end }}{{ $key | toJson }}: dyn({{ include "mqtt-access.cel" (get $ $key) }}){{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $place, $item := . }}{{ if $place }}, {{ end }}dyn({{ include "mqtt-access.cel" $item }}){{ end -}} ]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}
