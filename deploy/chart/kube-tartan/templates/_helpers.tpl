{{- define "tartan.labels" -}}
tier: node
k8s-app: tartan
app: tartan
{{- end }}

{{- define "tartan.image" -}}
{{ .Values.flannel.image.repository }}:{{ .Values.flannel.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The annotations' prefix as flannel completes it: one without a slash gets one, and what follows a slash ends in a dash. */}}
{{- define "tartan.annotationPrefix" -}}
{{- $prefix := "flannel.alpha.coreos.com" }}
{{- range .Values.flannel.args }}
{{- if hasPrefix "--kube-annotation-prefix=" . }}
{{- $prefix = trimPrefix "--kube-annotation-prefix=" . }}
{{- end }}
{{- end }}
{{- if not (contains "/" $prefix) }}
{{- $prefix = printf "%s/" $prefix }}
{{- else if not (or (hasSuffix "/" $prefix) (hasSuffix "-" $prefix)) }}
{{- $prefix = printf "%s-" $prefix }}
{{- end }}
{{- $prefix }}
{{- end }}

{{/* The user that the agents are. */}}
{{- define "tartan.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:tartan
{{- end }}

{{- define "tartan.netConf" -}}
{{- $values := .Values.flannel }}
{{- $backend := dict "Type" $values.backend }}
{{- with $values.backendPort }}{{ $_ := set $backend "Port" (int .) }}{{ end }}
{{- with $values.mtu }}{{ $_ := set $backend "MTU" (int .) }}{{ end }}
{{- with $values.vni }}{{ $_ := set $backend "VNI" (int .) }}{{ end }}
{{- with $values.directRouting }}{{ $_ := set $backend "DirectRouting" . }}{{ end }}
{{- with $values.sourceCheck }}{{ $_ := set $backend "SourceCheck" . }}{{ end }}
{{- with $values.macPrefix }}{{ $_ := set $backend "MacPrefix" . }}{{ end }}
{{- $conf := dict "Backend" $backend "EnableNFTables" $values.enableNFTables }}
{{- with $values.fastPath }}{{ $_ := set $conf "FastPath" . }}{{ end }}
{{- with $values.nonMasqueradeCIDRs }}{{ $_ := set $conf "NonMasqueradeCIDRs" . }}{{ end }}
{{- with $values.flowTableEntries }}{{ $_ := set $conf "FlowTableEntries" (int .) }}{{ end }}
{{- if .Values.podCidr }}
{{- $_ := set $conf "Network" .Values.podCidr }}
{{- else }}
{{- $_ := set $conf "EnableIPv4" false }}
{{- end }}
{{- with .Values.podCidrv6 }}
{{- $_ := set $conf "IPv6Network" . }}
{{- $_ := set $conf "EnableIPv6" true }}
{{- end }}
{{- toPrettyJson $conf }}
{{- end }}
