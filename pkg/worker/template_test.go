package worker

import batchv1 "k8s.io/api/batch/v1"

func jobTemplate() *batchv1.JobTemplateSpec { return &batchv1.JobTemplateSpec{} }
