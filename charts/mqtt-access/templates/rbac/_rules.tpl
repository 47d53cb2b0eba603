{{/*
Every right that the operator has, by where it is needed. RBAC cannot select Secrets by label, so that keys in the namespaces of
their owners take rights on all Secrets there.
*/}}

{{/* Wherever tenants may be. */}}
{{- define "mqtt-access.tenantRules" -}}
- apiGroups: [mqttaccess.io]
  resources: [mqtttenants, devicecredentials, aclpolicies]
  verbs: [list, watch]
# What was beyond the budget of its tenant, of which no more than an outline is kept.
- apiGroups: [mqttaccess.io]
  resources: [devicecredentials, aclpolicies]
  verbs: [get]
- apiGroups: [mqttaccess.io]
  resources: [mqtttenants/status, devicecredentials/status, aclpolicies/status]
  verbs: [patch]
# Tells that the tests of a policy fail, or pass again.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update]
{{- end -}}

{{/* In each bundle namespace; where a ClusterRole has the other verbs for Secrets, `delete` is what is missing. */}}
{{- define "mqtt-access.bundleSecretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [{{ if .Values.scope.namespaces }}get, list, watch, create, update, {{ end }}delete]
{{- end -}}

{{/* With ACL files, for people and for brokers without a sidecar. */}}
{{- define "mqtt-access.bundleRules" -}}
{{ include "mqtt-access.bundleSecretRules" . }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, create, update, delete]
{{- end -}}

{{/* Without: what there was of them before goes. */}}
{{- define "mqtt-access.bundleRulesWithoutFiles" -}}
{{ include "mqtt-access.bundleSecretRules" . }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch, delete]
{{- end -}}

{{/* In the release's own namespace: which replica works. What is not there yet has no name to be granted by. */}}
{{- define "mqtt-access.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "mqtt-access.fullname" . }}-operator]
  verbs: [get, list, watch, update]
{{- end -}}

{{/* The token service, wherever tenants may be. Which device is in the way of another it sees by `get`, which every operator has. */}}
{{- define "mqtt-access.tokenServiceRules" -}}
- apiGroups: [mqttaccess.io]
  resources: [devicecredentials]
  verbs: [create, delete]
{{- end -}}

{{/* The token service, in the whole cluster: who a bearer token is, and what that one may. */}}
{{- define "mqtt-access.reviewRules" -}}
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}

{{/* A sidecar, in the bundle namespace of its broker. */}}
{{- define "mqtt-access.sidecarRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end -}}

{{/*
One role and who has it. Call with a dict of `root`, `component`, `name`, `rules` (the name of a template), `subjects` (a list of maps with
`namespace` and `name`), and `namespace`: without one it is of the whole cluster.
*/}}
{{- define "mqtt-access.grant" -}}
{{- $kind := ternary "Role" "ClusterRole" (hasKey . "namespace") -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  name: {{ .name }}
  labels:
    {{- include "mqtt-access.labels" . | nindent 4 }}
rules:
  {{- include .rules .root | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  name: {{ .name }}
  labels:
    {{- include "mqtt-access.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
  {{- range .subjects }}
  - kind: ServiceAccount
    namespace: {{ .namespace }}
    name: {{ .name }}
  {{- end }}
{{ end -}}

{{/* The labels of namespaces, where a broker selects by them. */}}
{{- define "mqtt-access.namespaceRules" -}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end -}}
