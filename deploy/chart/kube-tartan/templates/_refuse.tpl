{{/*
What flannel's chart knows and Tartan cannot honour: refused with the key, its value and the fix.
*/}}
{{- define "tartan.refuse" -}}
{{- $fix := dict
  "psk" "it belongs to backends other than vxlan"
  "tunnelMode" "it belongs to the wireguard backend"
  "keepaliveInterval" "it belongs to the wireguard backend"
  "backendPortv6" "it belongs to the wireguard backend; vxlan has one port, flannel.backendPort"
  "GBP" "Tartan sends no group policy; peers drop VXLAN flags that they do not know"
  "flannel_cni" "one image, flannel.image, holds the CNI plugin as well"
-}}
{{- range $key, $why := $fix }}
{{- with get $.Values.flannel $key }}
{{- fail (printf "flannel.%s = %s cannot be honoured: %s. Remove the value." $key (toJson .) $why) }}
{{- end }}
{{- end }}
{{- with .Values.netpol }}
{{- if .enabled }}
{{- fail "netpol.enabled = true cannot be honoured: this chart brings no policy engine. Remove the value and install one beside Tartan." }}
{{- end }}
{{- end }}
{{- if and (not .Values.podCidr) (not .Values.podCidrv6) }}
{{- fail "podCidr and podCidrv6 are both empty: set one to the cluster CIDR, for instance podCidr=10.244.0.0/16." }}
{{- end }}
{{- range .Values.flannel.args }}
{{- if hasPrefix "--healthz-port" . }}
{{- fail (printf "flannel.args has %s, which the chart sets: use flannel.healthz.port instead." .) }}
{{- end }}
{{- end }}
{{- end }}
