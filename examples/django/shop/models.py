from django.db import models
from django.urls import reverse


class Order(models.Model):
    text = models.CharField(max_length=200)
    attachment = models.FileField(upload_to="attachments", blank=True)

    def __str__(self):
        return self.text

    def get_absolute_url(self):
        return reverse("order", args=[self.pk])


class Job(models.Model):
    """An order that is to get its invoice."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE)
    attempts = models.PositiveIntegerField(default=0)
    taken = models.DateTimeField(null=True)
    done = models.DateTimeField(null=True)

    def __str__(self):
        return f"invoice of order {self.order_id}"
