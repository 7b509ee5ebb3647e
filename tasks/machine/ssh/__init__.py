"""A host behind SSH: strict about its key, quick to notice its death, patient to come back."""
