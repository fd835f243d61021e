{{/*
Base of the names of all objects: the release's name if it has the chart's in it, else both. Cut so
that the longest suffix, "-operator-metrics", still fits into a DNS label.
*/}}
{{- define "fermata.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- end }}

{{/*
Labels that select a component's pods. Takes (dict "root" $ "component" NAME). The name is no
value: the command line finds the gateway's pods by it.
*/}}
{{- define "fermata.selectorLabels" -}}
app.kubernetes.io/name: fermata
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/*
Labels of every object. Takes (dict "root" $), for an object of one component "component", and
"extra" labels. The chart's own go before those, and those before commonLabels.
*/}}
{{- define "fermata.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" "fermata"
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/part-of" "fermata"
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- with .component }}{{ $_ := set $labels "app.kubernetes.io/component" . }}{{ end -}}
{{- merge $labels (default dict .extra) .root.Values.commonLabels | toYaml -}}
{{- end }}

{{/*
Labels of a component's pods. Without the chart's version, so that a new chart restarts nothing by
that alone. Takes (dict "root" $ "component" NAME).
*/}}
{{- define "fermata.podLabels" -}}
{{- $values := index .root.Values .component -}}
{{- $labels := include "fermata.labels" (merge (dict "extra" $values.podLabels) .) | fromYaml -}}
{{- omit $labels "helm.sh/chart" | toYaml -}}
{{- end }}

{{/*
Reference to an image. Takes (dict "root" $ "image" MAP); a digest goes before a tag, and its own before that in
imageDigests, where it stands under the last part of its repository.
*/}}
{{- define "fermata.image" -}}
{{- $repository := include "fermata.repository" . -}}
{{- $digest := default (get .root.Values.imageDigests (base .image.repository)) .image.digest -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end }}

{{/* The repository of an image, with its registry. Takes (dict "root" $ "image" MAP). */}}
{{- define "fermata.repository" -}}
{{- $registry := default .root.Values.imageRegistry .image.registry -}}
{{- ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- end }}

{{/* Name of a component's ServiceAccount. Takes (dict "root" $ "component" NAME). */}}
{{- define "fermata.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- $made := printf "%s-%s" (include "fermata.fullname" .root) .component -}}
{{- default (ternary $made "default" $account.create) $account.name -}}
{{- end }}

{{/*
Names under which a component's metrics are asked for. Takes (dict "root" $ "component" NAME).
*/}}
{{- define "fermata.adminHosts" -}}
{{- $hosts := (index .root.Values .component).adminHosts -}}
{{- $namespace := .root.Release.Namespace -}}
{{- if .root.Values.serviceMonitor.enabled -}}
{{- $service := printf "%s-%s-metrics" (include "fermata.fullname" .root) .component -}}
{{- range $suffix := list "" $namespace (printf "%s.svc" $namespace) (printf "%s.svc.%s" $namespace .root.Values.clusterDomain) -}}
{{- $hosts = append $hosts (trimSuffix "." (printf "%s.%s" $service $suffix)) -}}
{{- end -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end }}

{{/* Address families of a Service. Takes its values. */}}
{{- define "fermata.ipFamilies" -}}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* DNS name of the gateway's Service. */}}
{{- define "fermata.gatewayHost" -}}
{{- printf "%s-gateway-internal.%s.svc.%s" (include "fermata.fullname" .) .Release.Namespace .Values.clusterDomain -}}
{{- end }}

{{/* What functions may claim: the operator and the gateway have to agree on it. */}}
{{- define "fermata.claimArgs" -}}
{{- $name := printf "%s-gateway" (include "fermata.fullname" .) -}}
- --gateway-host={{ $name }}.{{ .Release.Namespace }}
- --gateway-host={{ $name }}-internal.{{ .Release.Namespace }}
{{- range .Values.gatewayHosts }}
- --gateway-host={{ . }}
{{- end }}
{{- range $subject, $namespaces := .Values.claims }}
- {{ printf "--claim=%s=%s" $subject (join "," $namespaces) | quote }}
{{- end }}
{{- end }}

{{/* The namespaces to work for, as a list: with those of functions of the release's own, or empty for all. */}}
{{- define "fermata.watchedNamespaces" -}}
{{- $namespaces := .Values.watchNamespaces -}}
{{- if and $namespaces .Values.git.webhooks.enabled -}}
{{- $namespaces = append $namespaces .Release.Namespace -}}
{{- end -}}
{{- if and $namespaces .Values.git.push.enabled -}}
{{- $namespaces = append $namespaces (include "fermata.pushNamespace" .) -}}
{{- end -}}
{{- uniq $namespaces | toYaml -}}
{{- end }}

{{/* Paths of the gateway's own, and the functions that answer there. */}}
{{- define "fermata.ownPaths" -}}
{{- if and (or .Values.git.push.enabled .Values.git.webhooks.enabled) (not .Values.gatewayHosts) }}
{{- fail "git.push and git.webhooks need gatewayHosts: the hosts under which the gateway is called for them, which no function may claim then. Whoever claimed one would be sent the tokens." }}
{{- end }}
{{- if .Values.git.webhooks.enabled }}
- --own-path=/hooks/git={{ .Release.Namespace }}/webhooks
{{- end }}
{{- if .Values.git.push.enabled }}
- --own-path=/git={{ include "fermata.pushNamespace" . }}/git
{{- end }}
{{- end }}

{{/* The namespace of what takes pushes. */}}
{{- define "fermata.pushNamespace" -}}
{{- printf "%s-git" (include "fermata.fullname" .) -}}
{{- end }}

{{/*
A Role and its RoleBinding in each of the namespaces that are watched. Takes (dict "root" $ "component" NAME
"rules" YAML).
*/}}
{{- define "fermata.watchedRoles" -}}
{{- $namespaces := include "fermata.watchedNamespaces" .root | fromYamlArray -}}
{{- $account := include "fermata.serviceAccountName" . -}}
{{- include "fermata.roles" (merge (dict "account" $account "namespaces" $namespaces) .) -}}
{{- end }}

{{/*
A Role and its RoleBinding in each of some namespaces. Takes (dict "root" $ "component" NAME "rules" YAML
"account" NAME "namespaces" LIST).
*/}}
{{- define "fermata.roles" -}}
{{- $name := printf "%s-%s-functions" (include "fermata.fullname" .root) .component -}}
{{- range $namespace := .namespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels:
    {{- include "fermata.labels" $ | nindent 4 }}
rules:
  {{- $.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels:
    {{- include "fermata.labels" $ | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $.account }}
    namespace: {{ $.root.Release.Namespace }}
{{- end }}
{{- end }}

{{/* What containers may do on their node. */}}
{{- define "fermata.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
What all components' pods have in common. Takes (dict "root" $ "component" NAME), "account" for another
ServiceAccount, "rights" "none" for a pod without a token, and "volumes" "own" for one that writes to a volume.
*/}}
{{- define "fermata.podSpec" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ if .account }}{{ .account }}{{ else }}{{ include "fermata.serviceAccountName" . }}{{ end }}
automountServiceAccountToken: {{ ne (default "" .rights) "none" }}
# Variables for every Service of the namespace would only grow the environment.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .root.Values.security.runAsUser }}
  runAsUser: {{ . | int64 }}
  runAsGroup: {{ . | int64 }}
  {{- if eq (default "" $.volumes) "own" }}
  fsGroup: {{ . | int64 }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.topologySpreadConstraints }}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "fermata.selectorLabels" . | fromYaml)) }}
topologySpreadConstraints:
  {{- range $values.topologySpreadConstraints }}
  - {{- ternary . (merge (deepCopy .) $selector) (hasKey . "labelSelector") | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What all components' containers have in common. Takes (dict "root" $ "component" NAME). */}}
{{- define "fermata.container" -}}
{{- $values := index .root.Values .component -}}
image: {{ include "fermata.image" (dict "root" .root "image" $values.image) | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext:
  {{- include "fermata.containerSecurity" . | nindent 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
# Ready means that everything has been listed once.
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
