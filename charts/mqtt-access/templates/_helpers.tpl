{{- define "mqtt-access.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{/* Leaves room for the longest suffix of a Service, whose name has 63 characters at most. */}}
{{- define "mqtt-access.fullname" -}}
{{- $name := include "mqtt-access.name" . -}}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $default .Values.fullnameOverride | replace "." "-" | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{/* For what has no namespace. No namespace has a dot in its name, so no two releases share this. */}}
{{- define "mqtt-access.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "mqtt-access.fullname" .) -}}
{{- end -}}

{{- define "mqtt-access.operatorAccount" -}}
{{- $account := .Values.operator.serviceAccount -}}
{{- default (printf "%s-operator" (include "mqtt-access.fullname" .)) $account.name -}}
{{- end -}}

{{/* Call with a dict of `root` and `component`. */}}
{{- define "mqtt-access.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mqtt-access.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* What identifies objects wins over labels of the user's. */}}
{{- define "mqtt-access.labels" -}}
{{- $ours := include "mqtt-access.selectorLabels" . | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/part-of" "mqtt-access" -}}
{{- $_ := set $ours "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) -}}
{{- merge $ours .root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* Call with a dict of `root` and `image`. */}}
{{- define "mqtt-access.image" -}}
{{- with .image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.root.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Every broker with its bundle namespace and its switches, as JSON. */}}
{{- define "mqtt-access.brokers" -}}
{{- $names := list -}}
{{- $namespaces := list -}}
{{- $brokers := list -}}
{{- range $place, $given := .Values.brokers -}}
{{- $broker := deepCopy $given -}}
{{- $middle := ternary "" (printf "-%s" $broker.name) (eq $broker.name "default") -}}
{{- $default := printf "%s-%s%s-bundles" $.Release.Namespace $.Release.Name $middle -}}
{{- if and (not $broker.bundleNamespace) (or (gt (len $default) 63) (contains "." $default)) -}}
{{- fail (printf "brokers[%d].bundleNamespace: the default `%s` is no name for a namespace, set one" $place $default) -}}
{{- end -}}
{{- $_ := set $broker "bundleNamespace" (default $default $broker.bundleNamespace) -}}
{{- $_ := set $broker "createNamespace" (ne (toString $broker.createNamespace) "false") -}}
{{- $_ := set $broker "sidecarAccount" (printf "%s-%s-sidecar" (include "mqtt-access.fullname" $) $broker.name) -}}
{{- if eq $broker.bundleNamespace $.Release.Namespace -}}
{{- fail (printf "brokers[%d].bundleNamespace is the namespace of the release, all of whose Secrets sidecars could then read: give bundles a namespace of their own" $place) -}}
{{- end -}}
{{- if has $broker.bundleNamespace $.Values.scope.namespaces -}}
{{- fail (printf "brokers[%d].bundleNamespace is one of scope.namespaces, all of whose Secrets sidecars could then read: give bundles a namespace of their own" $place) -}}
{{- end -}}
{{- if or (has $broker.name $names) (has $broker.bundleNamespace $namespaces) -}}
{{- fail (printf "brokers[%d] repeats the name or the bundle namespace of an earlier broker: give it its own" $place) -}}
{{- end -}}
{{- if and $.Values.scope.namespaces $broker.tenantNamespaceSelector -}}
{{- fail (printf "brokers[%d].tenantNamespaceSelector must be {} beside scope.namespaces: that list is the choice" $place) -}}
{{- end -}}
{{- $names = append $names $broker.name -}}
{{- $namespaces = append $namespaces $broker.bundleNamespace -}}
{{- $brokers = append $brokers $broker -}}
{{- end -}}
{{- toJson $brokers -}}
{{- end -}}

{{/* Whether the labels of namespaces have to be seen. */}}
{{- define "mqtt-access.selectsNamespaces" -}}
{{- range .Values.brokers -}}
{{- if .tenantNamespaceSelector -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The operator's configuration file. */}}
{{- define "mqtt-access.config" -}}
{{- $brokers := list -}}
{{- range include "mqtt-access.brokers" . | fromJsonArray -}}
{{- $broker := pick . "name" "bundleNamespace" "tenantNamespaceSelector" "allowDollarTopics" "scram" "aclDelivery" "willGraceSeconds" "sessionExpiry" -}}
{{- if kindIs "slice" .aclFiles -}}
{{- $_ := set $broker "aclFiles" .aclFiles -}}
{{- end -}}
{{- $brokers = append $brokers $broker -}}
{{- end -}}
{{- $lease := dict "namespace" .Release.Namespace "name" (printf "%s-operator" (include "mqtt-access.fullname" .)) -}}
{{- $_ := set $lease "leaseDurationSeconds" .Values.operator.leaseDurationSeconds -}}
{{- $config := dict "brokers" $brokers "leaderElection" $lease -}}
{{- with .Values.scope.namespaces -}}
{{- $_ := set $config "namespaces" . -}}
{{- end -}}
{{- with .Values.tokenService -}}
{{- if .enabled -}}
{{- $service := dict "listen" (printf "0.0.0.0:%d" (int .port)) "certificate" "/etc/mqtt-access/tls" -}}
{{- $_ := set $config "tokenService" $service -}}
{{- end -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "mqtt-access.tokenServiceSecret" -}}
{{- with .Values.tokenService.certificate -}}
{{- if not (or .secretName .certManager.enabled) -}}
{{- fail "tokenService.certificate: name a kubernetes.io/tls Secret in `secretName`, or set `certManager.enabled`" -}}
{{- end -}}
{{- default (printf "%s-token-service" (include "mqtt-access.fullname" $)) .secretName -}}
{{- end -}}
{{- end -}}
